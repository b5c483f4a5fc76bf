package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/lab"
)

const labHelp = `Builds a cluster on this machine, in network namespaces of its own: a switch,
the nodes, clients with many addresses and, with --mode gateway, a server. The
clients send TCP, UDP, ping and HTTP requests over IPv4 and IPv6, and a table
shows who answered whom. It ends with Ctrl-C or after --for, and leaves nothing
behind. Needs root, and no other program.

Columns of the table: "once" were answered once, by one node; "none" had no
answer within a second; "twice" had more answers than one; "by two nodes" were
handled by more nodes than one, whatever the number of answers.

With --kill, --freeze, --unplug and --partition things go wrong: 2@3s is node 2
three seconds after the start, 1,2@3s-5s two nodes until five seconds, when it is
put right. --drain, --undrain and --weight (2:50@3s) order what the commands of
these names do. With any of them 16 clients of each family also send an echo
every 4 ms, and keep a TCP connection open, over which they ask ten times a
second. The report says how long each of them had no service, and which
connections broke.

Exit status: 0 if every request had exactly one answer, from one node (with
faults: if none was handled twice); 1 otherwise; 2 for wrong options.`

// labOptions are the options of shoal lab.
type labOptions struct {
	mode, l2, attach, output string
	runFor                   time.Duration
	lab                      lab.Options
	faults                   faultFlags
}

func labCommand(env *Env) *cobra.Command {
	var o labOptions
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run a cluster on this machine, in network namespaces, under real traffic",
		Long:  labHelp,
		Example: `  shoal lab
  shoal lab --mode gateway --nodes 5 --for 10s -o json
  shoal lab --kill 2@3s-6s --partition 1,2/3@8s-9s --for 11s
  shoal lab --drain 2@3s --undrain 2@6s --for 9s
  shoal lab shell node1        # in another terminal`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runLab(cmd.Context(), env, o) },
	}
	cmd.PersistentFlags().StringVar(&o.lab.Name, "name", "lab", "`name` of the lab; labs of several names can run at once")
	f := cmd.Flags()
	f.IntVar(&o.lab.Nodes, "nodes", 3, "number of nodes")
	f.IntVar(&o.lab.Clients, "clients", 200, "number of client addresses of each family")
	f.StringVar(&o.mode, "mode", "backend", "backend or gateway")
	f.StringVar(&o.l2, "l2", "unicast", "how frames reach all nodes: unicast, multicast or igmp (switches then snoop)")
	f.StringVar(&o.attach, "attach", "auto", "how the data plane attaches: auto, native, generic or tcx")
	f.DurationVar(&o.runFor, "for", 0, "end after this `time`, such as 10s; 0: at Ctrl-C")
	o.faults.register(cmd)
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	cmd.AddCommand(labShellCommand(&o), labCleanCommand(env))
	return cmd
}

// check turns words into values and says what is wrong with the options.
func (o *labOptions) check() error {
	for _, word := range []struct {
		option, text string
		value        interface{ UnmarshalText([]byte) error }
	}{
		{"mode", o.mode, &o.lab.Mode}, {"l2", o.l2, &o.lab.L2}, {"attach", o.attach, &o.lab.Attach},
	} {
		if err := word.value.UnmarshalText([]byte(word.text)); err != nil {
			return usageError{fmt.Errorf("--%s: %w", word.option, err)}
		}
	}
	if o.output != "table" && o.output != "json" {
		return usageError{fmt.Errorf("--output: %q is none of table, json", o.output)}
	}
	if o.runFor < 0 {
		return usageError{fmt.Errorf("--for: %v is less than 0", o.runFor)}
	}
	for option, n := range map[string]int{"nodes": o.lab.Nodes, "clients": o.lab.Clients} {
		if n < 1 { // 0 would be the library's default
			return usageError{fmt.Errorf("--%s: %d is less than 1", option, n)}
		}
	}
	o.lab.Snooping = o.l2 == "igmp"
	if err := o.lab.Validate(); err != nil {
		return usageError{err}
	}
	return o.faults.check(o.lab)
}

func runLab(ctx context.Context, env *Env, o labOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	// A terminal that goes away ends the lab as Ctrl-C does.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	began := time.Now()
	l, err := lab.New(ctx, o.lab)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(env.Stderr, "stopped before the lab was up")
		return errQuiet
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "lab %s: %d nodes and %d clients are up after %v\n",
		o.lab.Name, o.lab.Nodes, o.lab.Clients, time.Since(began).Round(time.Millisecond))
	report, gaps, err := probeLab(ctx, env, o, l)
	for _, n := range l.Nodes {
		if ended := n.Err(); ended != nil {
			fmt.Fprintln(env.Stderr, "shoal:", ended)
		}
	}
	if closeErr := l.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := printLab(env, o.output, report, gaps); err != nil {
		return err
	}
	if gaps == nil && !report.OK() || gaps != nil && gaps.Doubles+int(report.Twice+report.Overlaps) > 0 {
		return errQuiet
	}
	return nil
}

// probeLab lets the clients ask until ctx or the time is over, lets go wrong
// what is to, and shows how it goes.
func probeLab(ctx context.Context, env *Env, o labOptions, l *lab.Lab) (lab.Report, *lab.GapReport, error) {
	probe, err := l.NewProbe(lab.ProbeOptions{})
	if err != nil {
		return lab.Report{}, nil, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if o.runFor > 0 {
		defer time.AfterFunc(o.runFor, end).Stop()
	}
	played := o.faults.play(ctx, l, end)
	done := make(chan struct{})
	go func() {
		defer close(done)
		probe.Run(ctx)
	}()
	if o.output == "table" && isTerminal(env.Stdout) {
		err = showLive(env, o.lab.Name, probe, done, end)
	} else {
		showLines(env, probe, done)
	}
	end() // also when the screen failed
	<-done
	gaps, playErr := played()
	return probe.Report(), gaps, errors.Join(err, playErr)
}

func printLab(env *Env, output string, r lab.Report, gaps *lab.GapReport) error {
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			lab.Report
			Gaps *lab.GapReport `json:"gaps,omitempty"`
		}{r, gaps})
	}
	text := r.Table()
	if gaps != nil {
		text += "\n" + gaps.Table()
	}
	_, err := fmt.Fprint(env.Stdout, text)
	return err
}

func labShellCommand(o *labOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell [--name NAME] NODE [COMMAND [ARGUMENT…]]",
		Short: "Open a shell in a node of a running lab, or in clients, server, router, switch",
		Long: `Opens $SHELL, or runs a command, in the network namespace of a part of a
running lab: node1, node2, …, clients, switch; in some labs server and router.
Only the network is another: files and /sys are this machine's.`,
		Args:                  usageArgs(cobra.MinimumNArgs(1)),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			command := args[1:]
			if len(command) == 0 {
				command = []string{os.Getenv("SHELL")}
			}
			if command[0] == "" {
				command[0] = "/bin/sh"
			}
			return lab.Enter(o.lab.Name, args[0], command, shellEnv(o.lab.Name, args[0]))
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows NODE is the command's
	return cmd
}

// shellEnv makes shells show in their prompt where they are: Debian's start-up
// file of bash puts $debian_chroot there; others keep PS1.
func shellEnv(name, part string) []string {
	return append(os.Environ(),
		"debian_chroot=shoal "+part,
		"PS1=(shoal "+part+") \\w\\$ ",
		"SHOAL_LAB="+name+"/"+part)
}

func labCleanCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove what crashed labs left; labs that run are left alone",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the running program: %w", err)
			}
			names, err := lab.Clean(cmd.Context(), self)
			for _, name := range names {
				fmt.Fprintln(env.Stdout, "removed lab", name)
			}
			return err
		},
	}
}
