package cli

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/config"
	"github.com/shoal-net/shoal/internal/share"
)

func configCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration file, or print an example",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand(env), configExampleCommand(env))
	return cmd
}

func configCheckCommand(env *Env) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file and print what it means",
		Long: `Check a configuration file, ` + config.DefaultPath + ` by default, as this node would
before it runs, and print what it means. Nothing on the host is touched.
All errors are printed, with their places; the exit status is then 2.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			path := config.DefaultPath
			if len(args) > 0 {
				path = args[0]
			}
			c, err := loadConfig(path, node)
			if err != nil {
				return err
			}
			return printCluster(env.Stdout, c)
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "this node, by id or name (default: the file's node key, or the host's name)")
	return cmd
}

func configExampleCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a configuration file that explains every key",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(env.Stdout, config.Example)
			return err
		},
	}
}

// loadConfig loads the file at path for the given node, or, if node is empty,
// for the one that the file or the host's name says. Its errors are usage errors.
func loadConfig(path, node string) (*cluster.Cluster, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the host's name: %w", err)
	}
	c, err := config.Load(path, config.Options{Node: node, Hostname: host})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// printCluster prints what a configuration means: one line on the cluster, a
// table of its interfaces, a table of its nodes.
func printCluster(w io.Writer, c *cluster.Cluster) error {
	self, _ := c.Node(c.Self)
	fmt.Fprintf(w, "cluster %s: %s, %s\n", c.Name, c.Mode, describeHash(c.Hash))
	fmt.Fprintf(w, "action %s, lease %s\n", describeAction(c.Action), c.Lease)
	if c.HasMembership() {
		fmt.Fprintln(w, describeMembership(c))
		fmt.Fprintln(w, describeHandover(c))
	}
	fmt.Fprintf(w, "this node: %d %s\n\n", self.ID, self.Name)

	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "INTERFACE\tSIDE\tL2\tMAC\tATTACH\tADDRESSES")
	for _, ifc := range c.Interfaces {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", ifc.Name, ifc.Side, ifc.L2, ifc.MAC, ifc.Attach, joinAddresses(ifc.Addresses))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if c.HasMembership() {
		printMembers(table, c)
		if err := table.Flush(); err != nil {
			return err
		}
		printChecks(table, c.Health)
		return table.Flush()
	}
	owners, err := share.Static(c.Nodes, c.Hash.Buckets)
	if err != nil {
		return fmt.Errorf("share out the buckets: %w", err)
	}
	count := share.Count(owners)
	fmt.Fprintln(table, "NODE\tNAME\tBUCKETS\tSHARE\tADDRESSES")
	for _, n := range c.Nodes {
		part := 100 * float64(count[n.ID]) / float64(c.Hash.Buckets)
		fmt.Fprintf(table, "%d\t%s\t%d\t%.1f%%\t%s\n", n.ID, n.Name, count[n.ID], part, joinAddresses(n.Addresses))
	}
	return table.Flush()
}

// printMembers prints what each node has while all are alive.
func printMembers(w io.Writer, c *cluster.Cluster) {
	total := 0
	for _, n := range c.Nodes {
		total += weight(n)
	}
	fmt.Fprintln(w, "NODE\tNAME\tWEIGHT\tSHARE\tADDRESSES")
	for _, n := range c.Nodes {
		text := strconv.Itoa(n.Weight)
		if n.VoterOnly {
			text = "votes only"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%.1f%%\t%s\n", n.ID, n.Name, text, 100*float64(weight(n))/float64(total), joinAddresses(n.Addresses))
	}
}

func weight(n cluster.Node) int {
	if n.VoterOnly {
		return 0
	}
	return n.Weight
}

func describeMembership(c *cluster.Cluster) string {
	m := c.Membership
	words := []string{"heartbeat " + m.Heartbeat.String()}
	if len(m.Interfaces) > 0 {
		words = append(words, "also on "+strings.Join(m.Interfaces, " "))
	}
	partition := "majority"
	if m.Partition.GoesAlone(len(c.Nodes)) {
		partition = "available"
	}
	words = append(words, "partition "+partition)
	if m.Witness.IsValid() {
		words = append(words, "witness "+m.Witness.String())
	}
	words = append(words, [...]string{"NO KEY", "a key", "two keys"}[len(m.Keys)])
	return strings.Join(words, ", ")
}

func describeHash(h cluster.Hash) string {
	s := fmt.Sprintf("%d buckets by %s, seed 0x%08x", h.Buckets, h.Affinity, h.Seed)
	if h.Key == cluster.KeyOriginal {
		s += ", key original"
	}
	if h.IPv6FirstWord {
		s += ", ipv6 first-word"
	}
	return s
}

func describeAction(a cluster.Action) string {
	if !a.Marking {
		return "drop"
	}
	s := "mark " + describeMark(a.Mark)
	if a.ForeignMark.Mask != 0 {
		s += ", foreign-mark " + describeMark(a.ForeignMark)
	}
	return s
}

func describeMark(m cluster.Mark) string { return fmt.Sprintf("0x%x/0x%x", m.Value, m.Mask) }

func joinAddresses(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return "-"
	}
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}
