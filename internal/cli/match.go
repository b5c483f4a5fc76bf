package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/match"
)

const matchHelp = `Prints those of the addresses that this node handles, one a line: the
decision of the iptables match "cluster", for a packet that comes from the
address. Addresses are arguments or, if there are none, lines of standard
input.

Options of the match, as in iptables (numbers may be decimal, 0x… or 0…):
  --cluster-total-nodes NUM          number of nodes, 1-32
  [!] --cluster-local-node NUM       this node's number, 1 to the number of nodes
  [!] --cluster-local-nodemask MASK  instead: a mask of nodes, bit 0 for node 1
  --cluster-hash-seed NUM            seed of the hash, 0-4294967295
  --ipv6-first-word                  hash the first 32 bits of IPv6 addresses
                                     only, as the kernel's match does; else all
                                     128 are hashed
  -m cluster                         begins another match: all must match

Other options:
  --all         print "ADDRESS NODE" for every address; needs no local node
  -r FILE       report packets and bytes per node for a capture (pcap or pcapng;
                "-" for standard input); needs no local node
  -w FILE       with -r: write the packets that this node handles to a pcap file
  -h, --help    this text

A capture is shared out by the source address of each packet. The match in the
kernel goes by the source of the connection's first packet: they agree for
packets from clients, not for replies. Bytes are those on the wire. Captures of
Ethernet (VLAN tags included), raw IP, Linux cooked (SLL, SLL2), null and
loopback devices are understood. FILE of -w has its name only when it is
complete; until then it is called FILE.partial.

Exit status: 0, also if no address is this node's; 1 if an address or a part of
the capture could not be read: the rest is printed all the same; 2 for wrong
options.`

const matchExamples = `  # Which of two clients is node 1's?
  shoal match --cluster-total-nodes 2 --cluster-local-node 1 \
      --cluster-hash-seed 0xdeadbeef 192.0.2.1 192.0.2.2

  # All but node 1's (quote the ! for shells that want it)
  shoal match --cluster-total-nodes 3 '!' --cluster-local-node 1 \
      --cluster-hash-seed 0xdeadbeef < clients.txt

  # Who handles whom?
  shoal match --all --cluster-total-nodes 5 --cluster-hash-seed 1 2001:db8::1

  # How evenly would five nodes share yesterday's traffic?
  shoal match --cluster-total-nodes 5 --cluster-hash-seed 1 -r eth1.pcapng

  # What of it would node 2 have seen?
  shoal match --cluster-total-nodes 5 --cluster-local-node 2 \
      --cluster-hash-seed 1 -r eth1.pcapng -w node2.pcap`

func matchCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "match --cluster-total-nodes NUM [!] --cluster-local-node NUM --cluster-hash-seed NUM [ADDRESS…]",
		Short:   "Say which node handles which address, or the packets of a capture",
		Long:    matchHelp,
		Example: matchExamples,
		// The ! before an option is not in pflag's language.
		DisableFlagParsing:    true,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := parseMatch(args)
			switch {
			case err != nil:
				return usageError{fmt.Errorf("%w\nsee shoal match --help", err)}
			case o.help:
				return cmd.Help()
			case o.read != "":
				return matchCapture(cmd.Context(), env, o)
			default:
				return matchAddresses(cmd.Context(), env, o)
			}
		},
	}
	cmd.Flags().BoolP("help", "h", false, "") // cobra adds and lists it otherwise
	cmd.Flags().Lookup("help").Hidden = true
	return cmd
}

// matchOptions is the command line of shoal match.
type matchOptions struct {
	matches     []match.Match // at least one; all must match
	all, help   bool
	read, write string // files
	addresses   []string
}

func parseMatch(args []string) (o matchOptions, err error) {
	matches := make([]match.Options, 1)
	for len(args) > 0 {
		current := &matches[len(matches)-1]
		taken, err := current.Take(args)
		if err != nil {
			return o, err
		}
		switch arg := args[0]; {
		case taken > 0:
		case arg == "--":
			o.addresses = append(o.addresses, args[1:]...)
			taken = len(args)
		case arg == "-m":
			if len(args) < 2 || args[1] != "cluster" {
				return o, errors.New("-m: must be followed by cluster")
			}
			if !current.Empty() {
				matches = append(matches, match.Options{})
			}
			taken = 2
		default:
			if taken, err = o.take(args); err != nil {
				return o, err
			}
		}
		args = args[taken:]
	}
	if o.help {
		return o, nil
	}
	return o, o.check(matches)
}

// take takes an option that is not the match's, or an address.
func (o *matchOptions) take(args []string) (taken int, err error) {
	switch arg := args[0]; arg {
	case "-h", "--help":
		o.help = true
	case "--all":
		o.all = true
	case "-r", "-w":
		file := &o.read
		if arg == "-w" {
			file = &o.write
		}
		if len(args) < 2 || args[1] == "" {
			return 0, fmt.Errorf("%s: requires a file name", arg)
		}
		if *file != "" {
			return 0, fmt.Errorf("%s: can only be used once", arg)
		}
		*file = args[1]
		return 2, nil
	default:
		if strings.HasPrefix(arg, "-") {
			return 0, fmt.Errorf("unknown option %q", arg)
		}
		o.addresses = append(o.addresses, arg)
	}
	return 1, nil
}

// check finishes the matches and sees whether all options go together.
func (o *matchOptions) check(matches []match.Options) error {
	perNode := o.all || o.read != ""
	for _, options := range matches {
		m, err := options.Match()
		if errors.Is(err, match.ErrNoLocalNode) && perNode && o.write == "" {
			err = nil
		}
		if err != nil {
			return err
		}
		o.matches = append(o.matches, m)
	}
	switch {
	case perNode && len(o.matches) > 1:
		return errors.New("--all and -r take one match: nodes of two are not the same")
	case o.write != "" && o.read == "":
		return errors.New("-w: needs -r, the capture to take packets from")
	case o.read != "" && o.all:
		return errors.New("--all: cannot be used together with -r, which reports all nodes as it is")
	case o.read != "" && len(o.addresses) > 0:
		return fmt.Errorf("-r: cannot be used together with addresses (%q)", o.addresses[0])
	}
	return nil
}

// interruptible returns what r reads, until ctx ends: from then on reading
// fails. To be closed when nothing more is read.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { in.CloseWithError(errors.New("interrupted")) })
	return out
}
