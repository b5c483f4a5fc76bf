package config

import (
	"cmp"
	"fmt"
	"strings"
)

// Error is one fault of a file.
type Error struct {
	File         string
	Line, Column int    // from 1, in characters; 0: the fault has no place in the file
	Path         string // of the key, such as interfaces[0].mac; empty: the document
	Text         string // the offending text, as far as it is a single word of the file
	Message      string // what is wrong and what is allowed
	source       string // the line
}

// Error is FILE:LINE:COLUMN: PATH: MESSAGE, then the line and a caret.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if strings.TrimSpace(e.source) != "" {
		fmt.Fprintf(&b, "\n    %s\n    %s^", e.source, indent(e.source, e.Column-1))
	}
	return b.String()
}

// indent returns the white space that takes as much room as the line's first n
// characters: its tabs stay tabs.
func indent(line string, n int) string {
	var b strings.Builder
	for _, c := range line {
		if n--; n < 0 {
			break
		}
		if c != '\t' {
			c = ' '
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Errors is all that is wrong with a file, in the order of its lines.
type Errors []*Error

func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d errors in the configuration", len(e))
	for _, one := range e {
		b.WriteString("\n" + one.Error())
	}
	return b.String()
}

// Unwrap returns the single errors, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

func comparePlaces(a, b *Error) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
