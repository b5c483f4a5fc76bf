package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/agent"
)

func statusCommand(env *Env) *cobra.Command {
	var (
		instance, output string
		interval         time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status [CLUSTER…]",
		Short: "Show a cluster as this node sees it, and what this node does",
		Long: `Shows the named clusters on this host, or all of the instance. It reads the
data plane itself, so it tells the truth also where the agent hangs or is gone;
what the nodes know of each other it asks the agent.

Counters that begin with pass_ or handle_ count frames that went on to the
host, answer_ those that the host answers, drop_ those that did not go on,
sent_ what went out. Rates are over --interval.`,
		RunE: func(_ *cobra.Command, names []string) error {
			if output != "table" && output != "json" {
				return usageError{fmt.Errorf("-o %q: must be table or json", output)}
			}
			if interval < 10*time.Millisecond || interval > time.Minute {
				return usageError{fmt.Errorf("--interval %s: must be 10ms to 1m", interval)}
			}
			if os.Geteuid() != 0 {
				return errors.New("must be root: the data plane is pinned where only root may look")
			}
			return status(env.Stdout, instance, names, interval, output == "json")
		},
	}
	instanceFlag(cmd, &instance)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time to measure rates over")
	return cmd
}

func status(w io.Writer, instance string, names []string, interval time.Duration, asJSON bool) error {
	if len(names) == 0 {
		var err error
		if names, err = agent.Clusters(instance); err != nil {
			return err
		}
	}
	all := []*agent.Status{}
	for _, name := range names {
		paths, err := agent.NewPaths(instance, name)
		if err != nil {
			return usageError{err}
		}
		s, err := agent.ReadStatus(paths, interval)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "no cluster here")
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printStatus(w, s)
	}
	return nil
}

func printStatus(w io.Writer, s *agent.Status) {
	fmt.Fprintf(w, "cluster %s, mode %s, node %d (%s)\n", s.Cluster, s.Mode, s.Node, s.NodeName)
	fmt.Fprintf(w, "agent   %s\n", agentWords(s))
	if s.Members != nil {
		fmt.Fprintf(w, "view    %s\n", viewWords(s.Members))
	}
	fmt.Fprintf(w, "lease   %s\n", leaseWords(s))
	b := s.Buckets
	fmt.Fprintf(w, "buckets %d: %d owned, %d acquiring, %d draining, %d foreign\n", b.Total, b.Owned, b.Acquiring, b.Draining, b.Foreign)
	if b.Held > 0 {
		fmt.Fprintf(w, "        new UDP flows wait in %d of them: which ones their old owners keep is not known yet\n", b.Held)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "WARNING %s\n", warning)
	}
	fmt.Fprintln(w)
	if s.Members != nil {
		printMembership(w, s)
	} else {
		printShares(w, s)
	}
	for _, ifc := range s.Interfaces {
		printInterface(w, ifc)
	}
}

func printShares(w io.Writer, s *agent.Status) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tNAME\tBUCKETS\tPACKETS\tPER SECOND")
	for _, n := range s.Nodes {
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%.0f\n", n.ID, n.Name, n.Buckets, n.Packets, n.Rate)
	}
	t.Flush()
}

func agentWords(s *agent.Status) string {
	if s.Agent.Running {
		return fmt.Sprintf("running, process %d", s.Agent.PID)
	}
	return fmt.Sprintf("not running (was process %d)", s.Agent.PID)
}

func leaseWords(s *agent.Status) string {
	left := "none"
	if s.Lease.Valid {
		left = fmt.Sprintf("%.0f ms left", s.Lease.LeftMS)
	}
	return fmt.Sprintf("%s, epoch %s, table of epoch %s", left, s.Lease.View, s.Lease.TableView)
}

func printInterface(w io.Writer, ifc agent.InterfaceStatus) {
	attached := "attached " + ifc.Mode
	if !ifc.Attached {
		attached = "NOT ATTACHED"
	}
	fmt.Fprintf(w, "\n%s: %s side, %s, l2 %s, cluster MAC %s, %s\n",
		ifc.Name, ifc.Side, attached, ifc.L2, ifc.MAC, strings.Join(ifc.Addresses, " "))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  VERDICT\tPACKETS\tPER SECOND")
	for _, name := range ifc.CounterNames() {
		fmt.Fprintf(t, "  %s\t%d\t%.0f\n", name, ifc.Counters[name], ifc.Rates[name])
	}
	t.Flush()
}
