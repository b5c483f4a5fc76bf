package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A part is renewed without the others.
func TestFigures(t *testing.T) {
	dir := t.TempDir()
	for _, column := range []struct {
		part string
		all  []figure
	}{
		{"shoal", []figure{{"broken", "1"}, {"changes", "2, and more"}}},
		{"recipe", []figure{{"changes", "2"}, {"broken", "700"}}},
		{"upload", []figure{{"at rest", "9.5"}}},
		{"move", []figure{{"answered", "7"}}},
		{"shoal", []figure{{"broken", "0"}, {"changes", "3"}}},
	} {
		r, err := openFigures(dir)
		if err != nil {
			t.Fatal(err)
		}
		r[column.part] = column.all
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openFigures(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := figures{"shoal": {{"broken", "0"}, {"changes", "3"}}, "recipe": {{"changes", "2"}, {"broken", "700"}}, "upload": {{"at rest", "9.5"}}, "move": {{"answered", "7"}}}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(figure{})); diff != "" {
		t.Error(diff)
	}
	page, err := os.ReadFile(filepath.Join(dir, "handover.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"| | shoal | recipe |\n|---|---|---|\n| broken | 0 | 700 |\n| changes | 3 | 2 |\n",
		"## UDP\n",
		"\n\n| | move |\n|---|---|\n| answered | 7 |\n\n## One TCP transfer\n",
		"| | upload |\n|---|---|\n| at rest | 9.5 |\n",
	} {
		if !strings.Contains(string(page), part) {
			t.Errorf("%q is not in\n%s", part, page)
		}
	}
}
