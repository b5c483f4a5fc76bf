package netdev

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// TrackConnections keeps connection tracking active in this network namespace.
// The kernel tracks only while some rule asks for it: this one sits in an
// nftables table of its own, shoal-NAME, and has no effect on packets. It
// outlives the process, until UntrackConnections. Repeating it replaces the
// table at once, without a gap.
func TrackConnections(name string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("track connections: open nftables: %w", err)
	}
	table := conntrackTable(name)
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name:     "track",
		Table:    table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityMangle,
	})
	c.AddRule(&nftables.Rule{
		Table: table,
		Chain: chain,
		Exprs: []expr.Any{ // ct state established continue
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{
				SourceRegister: 1,
				DestRegister:   1,
				Len:            4,
				Mask:           binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED),
				Xor:            binaryutil.NativeEndian.PutUint32(0),
			},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
			&expr.Verdict{Kind: expr.VerdictContinue},
		},
		UserData: userdata.AppendString(nil, userdata.TypeComment, "keeps connection tracking active"),
	})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("track connections: add nftables table %s (needs nf_tables, nft_ct and nf_conntrack): %w", table.Name, err)
	}
	return nil
}

// UntrackConnections removes what TrackConnections added, if it is there.
func UntrackConnections(name string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("untrack connections: open nftables: %w", err)
	}
	table := conntrackTable(name)
	c.DelTable(table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("untrack connections: delete nftables table %s: %w", table.Name, err)
	}
	return nil
}

func conntrackTable(name string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: "shoal-" + name}
}
