package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/shoal-net/shoal/internal/cluster"
)

// rangeRule says which numbers a list of ranges may have.
type rangeRule struct {
	what        string // they are, for errors
	least, most int
	reason      string // for these bounds
}

// rangeList reads one number, a text such as "0-99,200", or a YAML list of
// those. It returns nil only if that went wrong.
func (b *builder) rangeList(v value, rule rangeRule) []cluster.Range {
	if _, ok := v.node.(*ast.SequenceNode); !ok {
		return b.ranges(v, rule)
	}
	all := []cluster.Range{}
	for _, element := range b.list(v, v.takes, 0, cluster.MaxBuckets) {
		all = append(all, b.ranges(element, rule)...)
	}
	return all
}

func (b *builder) ranges(v value, rule rangeRule) []cluster.Range {
	text, ok := v.scalar()
	if !ok {
		b.reject(v, kind(v.node))
		return nil
	}
	var all []cluster.Range
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRange(strings.TrimSpace(part))
		switch {
		case err != nil:
			b.reject(v, "is not a list of "+rule.what)
			return nil
		case r.First > r.Last:
			b.fail(v, "%q: %d-%d ends before it begins", text, r.First, r.Last)
		case r.First < rule.least || r.Last > rule.most:
			b.fail(v, "%q: %s is out of range; %s", text, strings.TrimSpace(part), rule.reason)
		}
		all = append(all, r)
	}
	return all
}

func parseRange(s string) (cluster.Range, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	lo, err := parseNumber(strings.TrimSpace(first))
	if err != nil {
		return cluster.Range{}, err
	}
	hi, err := parseNumber(strings.TrimSpace(last))
	return cluster.Range{First: int(lo), Last: int(hi)}, err
}
