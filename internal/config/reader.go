package config

import (
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// reader reads values out of a YAML document and collects what is wrong with
// them. It works on the syntax tree, where every value has its place: a
// decoder into structs would stop at the first fault and forget the places.
type reader struct {
	file  string
	lines []string
	errs  Errors
}

func newReader(file string, data []byte) *reader {
	return &reader{file: file, lines: strings.Split(string(data), "\n")}
}

// value is a place in the document. The zero value is a key that is not there.
type value struct {
	node  ast.Node
	path  string // such as interfaces[0].mac
	takes string // what is allowed here, for errors
}

func (v value) given() bool { return v.node != nil }

// token returns the token that stands for a node: a map in block style has no
// token of its own but its first key's.
func (v value) token() *token.Token {
	if m, ok := v.node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	return v.node.GetToken()
}

// scalar returns the text of a value that is a single word.
func (v value) scalar() (string, bool) {
	switch v.node.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.node.GetToken().Value, true
	}
	return "", false
}

// fail reports that something is wrong at a value.
func (r *reader) fail(at value, format string, args ...any) {
	text, _ := at.scalar()
	r.failAt(at.token(), at.path, text, fmt.Sprintf(format, args...))
}

// reject reports that a value is not one of those that its key takes.
func (r *reader) reject(at value, why string) {
	if text, ok := at.scalar(); ok {
		why = strconv.Quote(text) + " " + why
	}
	r.fail(at, "%s; it takes %s", why, at.takes)
}

func (r *reader) failAt(tk *token.Token, path, text, message string) {
	e := &Error{File: r.file, Path: path, Text: text, Message: message}
	if tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
		if e.Line >= 1 && e.Line <= len(r.lines) {
			e.source = strings.TrimRight(r.lines[e.Line-1], " \t\r")
		}
	}
	r.errs = append(r.errs, e)
}

// document parses the text and returns its one document.
func (r *reader) document(data []byte) (value, bool) {
	if len(data) > MaxSize {
		r.failAt(nil, "", "", fmt.Sprintf("the file is longer than %d bytes", MaxSize))
		return value{}, false
	}
	file, err := parseYAML(data)
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax):
		var text string
		if tk := syntax.GetToken(); tk != nil {
			text, _, _ = strings.Cut(strings.TrimSpace(tk.Value), "\n")
		}
		r.failAt(syntax.GetToken(), "", text, "not YAML: "+syntax.GetMessage())
		return value{}, false
	case err != nil:
		r.failAt(nil, "", "", "not YAML: "+err.Error())
		return value{}, false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		r.failAt(nil, "", "", "the file is empty; `shoal config example` prints one to begin with")
		return value{}, false
	}
	for _, body := range bodies {
		if d, ok := body.(*ast.DirectiveNode); ok {
			r.failAt(d.GetToken(), "", "", "a YAML directive; the file takes none")
			return value{}, false
		}
	}
	if len(bodies) > 1 {
		r.fail(value{node: bodies[1]}, "a second YAML document; the file takes one")
		return value{}, false
	}
	return value{node: bodies[0], takes: mapOf(clusterKeys)}, true
}

// parseYAML guards against the parser's own faults: on input that no one would
// write by hand it has been seen to panic.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the parser gave up: %v", fault)
		}
	}()
	// Duplicates are found by mapping, which goes on after the first.
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

// mapping returns the values of a map by key; nil if it is no map. It reports
// unknown, duplicate and missing keys.
func (r *reader) mapping(v value, keys []key) map[string]value {
	m, ok := v.node.(*ast.MappingNode)
	if !ok {
		r.reject(v, kind(v.node))
		return nil
	}
	values := make(map[string]value, len(keys))
	for _, entry := range m.Values {
		tk := entry.Key.GetToken()
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == tk.Value })
		if _, isString := entry.Key.(*ast.StringNode); !isString || i < 0 {
			r.failAt(tk, v.path, tk.Value, fmt.Sprintf("%q is not a key here; the keys are %s", tk.Value, names(keys)))
			continue
		}
		if first, twice := values[tk.Value]; twice {
			r.failAt(tk, v.path, tk.Value, fmt.Sprintf("%q is given twice, first in line %d", tk.Value, first.token().Position.Line))
			continue
		}
		values[tk.Value] = value{node: entry.Value, path: join(v.path, tk.Value), takes: keys[i].takes}
	}
	for _, k := range keys {
		if _, ok := values[k.name]; k.required && !ok {
			r.fail(v, "%s is missing; it takes %s", k.name, k.takes)
		}
	}
	return values
}

// list returns the elements of a list, which are to be from least to most;
// none if it is no list. takes says what an element may be.
func (r *reader) list(v value, takes string, least, most int) []value {
	if !v.given() {
		return nil
	}
	s, ok := v.node.(*ast.SequenceNode)
	if !ok {
		r.reject(v, kind(v.node))
		return nil
	}
	elements := make([]value, len(s.Values))
	for i, node := range s.Values {
		elements[i] = value{node: unsplit(node), path: fmt.Sprintf("%s[%d]", v.path, i), takes: takes}
	}
	switch {
	case len(elements) < least:
		r.reject(v, "is empty")
	case len(elements) > most:
		r.fail(elements[most], "element %d of %d; at most %d are allowed", most+1, len(elements), most)
	}
	return elements
}

// unsplit puts together a word that the parser takes apart at its first colon,
// as it does with fe80::1 in {addresses: [fe80::1]}. In YAML, a colon ends a
// key only before white space (YAML 1.2, 7.3.3).
func unsplit(n ast.Node) ast.Node {
	m, ok := n.(*ast.MappingNode)
	if !ok || len(m.Values) != 1 || m.GetToken().Type == token.MappingStartType {
		return n
	}
	first, colon, rest := m.Values[0].Key.GetToken(), m.Values[0].Start, m.Values[0].Value.GetToken()
	word := first.Value + ":" + rest.Value
	_, isScalar := value{node: m.Values[0].Value}.scalar()
	if !isScalar || isQuoted(m.Values[0].Key) || isQuoted(m.Values[0].Value) ||
		!adjacent(first, colon) || !adjacent(colon, rest) {
		return n
	}
	return ast.String(token.String(word, word, first.Position))
}

// adjacent reports whether nothing is between two tokens.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line &&
		a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// text returns a value that is text. Numbers and the words true, false and
// null are text when quoted.
func (r *reader) text(v value) (string, bool) {
	if !v.given() {
		return "", false
	}
	if s, ok := v.node.(*ast.StringNode); ok {
		return s.Value, true
	}
	r.reject(v, kind(v.node))
	return "", false
}

// word reads one of a few words into dst, which stays as it is if the key is
// not there. It reports whether dst can be relied upon.
func (r *reader) word(v value, dst encoding.TextUnmarshaler) bool {
	if !v.given() {
		return true
	}
	text, ok := r.text(v)
	if !ok {
		return false
	}
	if err := dst.UnmarshalText([]byte(text)); err != nil {
		r.fail(v, "%v", err)
		return false
	}
	return true
}

// truth reads true or false into dst, which stays as it is if the key is not
// there or its value is wrong.
func (r *reader) truth(v value, dst *bool) {
	if !v.given() {
		return
	}
	if b, ok := v.node.(*ast.BoolNode); ok {
		*dst = b.Value
		return
	}
	r.reject(v, kind(v.node))
}

// number reads a whole number from lo to hi into dst, decimal or hexadecimal;
// dst stays as it is if the key is not there or its value is wrong.
func number[T int | uint32](r *reader, v value, lo, hi uint32, dst *T) bool {
	if !v.given() {
		return true
	}
	text, ok := v.scalar()
	if !ok || isQuoted(v.node) {
		r.reject(v, kind(v.node))
		return false
	}
	n, err := parseNumber(text)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (n < lo || n > hi):
		r.reject(v, "is out of range")
		return false
	case err != nil:
		r.reject(v, "is not a whole number")
		return false
	}
	*dst = T(n)
	return true
}

// parseNumber takes decimal and 0x… only: readers of YAML 1.1 and 1.2 disagree
// about what a leading zero means.
func parseNumber(s string) (uint32, error) {
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		s, base = hex, 16
	} else if len(s) > 1 && s[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, base, 32)
	return uint32(n), err
}

func isQuoted(n ast.Node) bool {
	t := n.GetToken().Type
	return t == token.SingleQuoteType || t == token.DoubleQuoteType
}

// kind says what a node is, as the predicate of an error.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "has no value"
	case *ast.MappingNode:
		return "is a map"
	case *ast.SequenceNode:
		return "is a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "is a number (quoted, it is text)"
	case *ast.BoolNode:
		return "is a truth value (quoted, it is text)"
	case *ast.StringNode:
		return "is text"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "is an anchor, an alias or a tag: write the value out"
	default:
		return "is something else"
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
