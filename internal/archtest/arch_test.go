package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/shoal-net/shoal"
	root   = "../.." // of the module, from here
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
}

func TestImports(t *testing.T) {
	for _, p := range list(t) {
		for _, fault := range check(rules, owners, p) {
			t.Error(fault)
		}
	}
}

func TestDocComments(t *testing.T) {
	for _, p := range list(t) {
		if p.Doc == "" && !testsHaveDoc(t, p) {
			t.Errorf("%s has no doc comment: say above its package clause what it is", p.ImportPath)
		}
	}
}

func TestFileLengths(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".go", ".c", ".h"}, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // an editor's passing file
			return nil
		}
		if n := tooLong(path, text); n > 0 {
			t.Errorf("%s has %d lines: divide it, the longest may have %d", path, n, longest)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// check returns what is wrong with the imports of a package.
func check(rules []rule, owners map[string][]string, p pkg) (faults []string) {
	path := within(p.ImportPath)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.path == path })
	if i < 0 {
		return []string{fmt.Sprintf("%s is not in the table: give it a row in internal/archtest/rules_test.go", path)}
	}
	r := rules[i]
	for _, imported := range p.Imports {
		first, _, _ := strings.Cut(imported, "/")
		switch {
		case imported == module || strings.HasPrefix(imported, module+"/"):
			if to := within(imported); !slices.Contains(r.imports, to) && !slices.Contains(r.imports, anything) {
				faults = append(faults, fmt.Sprintf("%s imports %s: move what it needs to a package that it may import, "+
					"or hand it in; if the arrow is right, add it to its row in internal/archtest/rules_test.go", path, to))
			}
		case !strings.Contains(first, "."): // the standard library
		case r.outside == stdlib:
			faults = append(faults, fmt.Sprintf("%s imports %s: it may import the standard library only", path, imported))
		default:
			for library, allowed := range owners {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(allowed, path) {
					faults = append(faults, fmt.Sprintf("%s imports %s: that is for %s alone", path, imported, strings.Join(allowed, ", ")))
				}
			}
		}
	}
	return faults
}

// within returns a package's path within the module.
func within(importPath string) string { return strings.TrimPrefix(importPath, module+"/") }

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// tooLong returns the number of lines of a file that has too many, else 0.
func tooLong(path string, text []byte) int {
	n := bytes.Count(text, []byte("\n"))
	if n <= longest || strings.HasSuffix(path, "_test.go") || generated.Match(text) {
		return 0
	}
	return n
}

// list lists the module's packages, those that hold only tests included. Files
// that do not compile are no matter here.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-tags", "privileged",
		"-json=ImportPath,Dir,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the packages: %v: %s", err, stderr.Bytes())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("list the packages: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		t.Fatalf("list the packages: found %v only", packages)
	}
	return packages
}

// testsHaveDoc reports whether a package that holds only tests has its doc
// comment there: go list does not look into them.
func testsHaveDoc(t *testing.T, p pkg) bool {
	if len(p.GoFiles) > 0 {
		return false
	}
	return slices.ContainsFunc(slices.Concat(p.TestGoFiles, p.XTestGoFiles), func(name string) bool {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return false
		}
		return file.Doc.Text() != ""
	})
}
