package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/config"
	"github.com/shoal-net/shoal/match"
)

// upName is the command whose file SIGHUP reads again.
const upName = "up"

const upHelp = `Runs this node of a cluster in the foreground, until SIGINT or SIGTERM: then the
other nodes take over, and it takes everything away again.

Where the file lists the nodes' addresses they know each other, and a node that
dies is replaced. SIGHUP and shoal reload then read the file again; nodes, keys,
witness, partition and health checks may change. --replace takes the place of a
shoal that runs this cluster here, such as an older version, and moves no bucket.

Without a file, in the form of the iptables match "cluster", beside nodes that
still use it:
  --cluster-total-nodes NUM, [!] --cluster-local-node NUM,
  [!] --cluster-local-nodemask MASK, --cluster-hash-seed NUM,
  --ipv6-first-word                  as for shoal match
  -i NAME[,KEY=VALUE…]               an interface, may be repeated:
     mac=MAC        the shared MAC, as in the other nodes' arptables rules
     l2=MODE        unicast, multicast, igmp; default: what mac is
     address=ADDR   a shared address, may be repeated
     side=SIDE      client or server; any server side makes a gateway
  --mark VALUE[/MASK]                mark packets, and drop none

A gateway in this form hashes the source of the connection's original
direction, as the kernel's match does (hash: {key: original} in the file).`

const upExamples = `  shoal up -c /etc/shoal/cluster.yaml

  # The manual page's two interfaces, this node being the second of two
  shoal up --cluster-total-nodes 2 --cluster-local-node 2 --cluster-hash-seed 0xdeadbeef \
      -i eth1,mac=01:00:5e:00:01:01,address=192.0.2.1 \
      -i eth2,mac=01:00:5e:00:01:02,address=198.51.100.1,side=server`

// upOptions is the command line of shoal up.
type upOptions struct {
	file, node, instance string
	interfaces           []string
	mark                 string
	seed                 match.Options
	replace, background  bool
}

func upCommand(env *Env) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:     upName + " [-c FILE]",
		Short:   "Run this node of a cluster",
		Long:    upHelp,
		Example: upExamples,
		// The ! before an option of the match is not in pflag's language.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			help, err := o.parse(cmd, args)
			if err != nil {
				return usageError{err}
			}
			if help {
				return cmd.Help()
			}
			c, err := o.cluster(cmd)
			if err != nil {
				return err
			}
			if o.background {
				return upInBackground(cmd.Context(), env, args)
			}
			return up(cmd.Context(), env, c, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "config", "c", config.DefaultPath, "the cluster's file")
	flags.StringVar(&o.node, "node", "", "this node, by id or name; default: the file's node, or the host's name")
	flags.StringVar(&o.instance, "instance", agent.DefaultInstance, "a name for this network namespace, where several have clusters of one name")
	flags.StringArrayVarP(&o.interfaces, "interface", "i", nil, "without a file: an interface")
	flags.StringVar(&o.mark, "mark", "", "without a file: mark packets and drop none")
	flags.BoolVar(&o.replace, "replace", false, "take the place of the shoal that runs this cluster here")
	flags.BoolVar(&o.background, "background", false, "return when the node runs, and leave it running")
	flags.BoolP("help", "h", false, "this text")
	return cmd
}

// parse takes the match's options out of the arguments and leaves the rest to
// pflag.
func (o *upOptions) parse(cmd *cobra.Command, args []string) (help bool, err error) {
	var rest []string
	for len(args) > 0 {
		taken, err := o.seed.Take(args)
		if err != nil {
			return false, err
		}
		if taken == 0 {
			rest = append(rest, args[0])
			taken = 1
		}
		args = args[taken:]
	}
	if err := cmd.Flags().Parse(rest); err != nil {
		return false, err
	}
	if extra := cmd.Flags().Args(); len(extra) > 0 {
		return false, fmt.Errorf("unexpected argument %q", extra[0])
	}
	return cmd.Flags().GetBool("help")
}

// cluster describes the cluster, from the file or from the options.
func (o *upOptions) cluster(cmd *cobra.Command) (*cluster.Cluster, error) {
	seedForm := !o.seed.Empty() || len(o.interfaces) > 0 || o.mark != ""
	if !seedForm {
		return loadConfig(o.file, o.node)
	}
	if cmd.Flags().Changed("config") || cmd.Flags().Changed("node") {
		return nil, usageError{errors.New("-c and --node go with a file; -i, --mark and --cluster-… without one")}
	}
	m, err := o.seed.Match()
	if err != nil {
		return nil, usageError{err}
	}
	c, err := config.FromMatch(m, o.interfaces, o.mark)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func up(ctx context.Context, env *Env, c *cluster.Cluster, o *upOptions) error {
	paths, err := agent.NewPaths(o.instance, c.Name)
	if err != nil {
		return usageError{err}
	}
	if os.Geteuid() != 0 {
		return errors.New("must be root: it loads BPF programs and changes addresses")
	}
	log := slog.New(slog.NewTextHandler(env.Stderr, nil))
	options := agent.Options{
		Cluster: c,
		Paths:   paths,
		Log:     log,
		Ready: func() {
			notify(log, daemon.SdNotifyReady)
			tellParent()
		},
		Replace: o.replace,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.HasMembership() {
		options.Load = func() (*cluster.Cluster, error) { return loadConfig(o.file, o.node) }
		reload := make(chan os.Signal, 1)
		options.Hangup = reload
		go sortHangups(ctx, env, cancel, reload)
	} else {
		go endAtHangup(ctx, env, cancel)
	}
	replaced := false
	options.Replaced = func(pid int) {
		replaced = true
		notify(log, fmt.Sprintf("MAINPID=%d", pid))
	}
	err = agent.Run(ctx, options)
	if !replaced {
		notify(log, daemon.SdNotifyStopping)
	}
	return err
}

// notify tells systemd, where it is there.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("could not notify the service manager", "error", err)
	}
}
