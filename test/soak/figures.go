package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// figures are the columns of handover.md, by the names of their parts. They are
// kept in a file, so that one can be renewed without the others.
type figures map[string][]figure

const figuresName = "handover.csv"

func openFigures(dir string) (figures, error) {
	path := filepath.Join(dir, figuresName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return figures{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the figures: %w", err)
	}
	defer f.Close()
	lines := csv.NewReader(f)
	lines.FieldsPerRecord = 3
	all, err := lines.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	r := figures{}
	for _, line := range all[min(1, len(all)):] {
		r[line[0]] = append(r[line[0]], figure{line[1], line[2]})
	}
	return r, nil
}

// write writes the file, and the page.
func (r figures) write(dir string) error {
	var b strings.Builder
	table := csv.NewWriter(&b)
	table.Write([]string{"part", "figure", "value"})
	for _, p := range parts {
		for _, f := range r[p.name] {
			table.Write([]string{p.name, f.name, f.value})
		}
	}
	table.Flush()
	err := errors.Join(os.WriteFile(filepath.Join(dir, figuresName), []byte(b.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "handover.md"), []byte(r.page()), 0o644))
	if err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// table writes the columns of a table's parts side by side; all have the rows of
// the first one that has any.
func (r figures) table(b *strings.Builder, name string) {
	var columns [][]figure
	head, rule := "|", "|---|"
	for _, p := range parts {
		if column := r[p.name]; p.table == name && column != nil {
			columns = append(columns, column)
			head += " | " + p.name
			rule += "---|"
		}
	}
	if len(columns) == 0 {
		return
	}
	fmt.Fprintf(b, "%s |\n%s\n", head, rule)
	for _, row := range columns[0] {
		fmt.Fprintf(b, "| %s", row.name)
		for _, column := range columns {
			value := ""
			for _, f := range column {
				if f.name == row.name {
					value = f.value
				}
			}
			fmt.Fprintf(b, " | %s", value)
		}
		b.WriteString(" |\n")
	}
}
