// Package config turns the configuration file into a validated
// cluster.Cluster. It is strict: what it does not know, or cannot be meant, is
// an error that names file, line, column, the offending text and what is
// allowed. All errors of a file are reported together. example.yaml is the
// reference of its keys.
package config

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
)

// DefaultPath is where the file is looked for when none is named.
const DefaultPath = "/etc/shoal/cluster.yaml"

// MaxSize is the length of the longest file that is read, in bytes.
const MaxSize = 1 << 20

// Example is the reference file: every key, with its default and range.
//
//go:embed example.yaml
var Example string

// Options is what says, outside the file, which of the nodes this one is.
type Options struct {
	Node     string // id or name; goes before the file's own node key
	Hostname string // short or full; used where neither names the node
}

// Load reads and parses the file at path. See Parse for the errors.
func Load(path string, opts Options) (*cluster.Cluster, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w; `shoal config example` prints one to begin with", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return parse(path, data, opts, &keyRules{open: readKeyFile, exposed: exposed(info)})
}

// Parse parses the text of a file; name stands for it in errors. Whatever is
// wrong with the text comes back as Errors, in the order of its lines. It does
// no I/O: of a key-file it looks at the path only, and the keys are not there.
func Parse(name string, data []byte, opts Options) (*cluster.Cluster, error) {
	return parse(name, data, opts, &keyRules{})
}

func parse(name string, data []byte, opts Options, keys *keyRules) (*cluster.Cluster, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // the byte order mark
	b := builder{reader: newReader(name, data), claims: map[netip.Addr][]claim{}, keys: keys}
	if root, ok := b.document(data); ok {
		b.cluster(root, opts)
	}
	if len(b.errs) > 0 {
		slices.SortStableFunc(b.errs, comparePlaces)
		return nil, b.errs
	}
	return &b.c, nil
}
