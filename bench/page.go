package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// page is a page that a run renews in parts.
type page struct {
	file     string
	sections []section
}

type section struct{ name, table string }

// pages are those that something was measured for.
func (r *report) pages() (all []page) {
	add := func(file string, sections ...section) {
		sections = slices.DeleteFunc(sections, func(s section) bool { return s.table == "" })
		if len(sections) > 0 {
			all = append(all, page{file, sections})
		}
	}
	ifAny := func(n int, table func() string) string {
		if n == 0 {
			return ""
		}
		return table()
	}
	add("README.md", section{"cost", ifAny(len(r.costs), r.costTable)}, section{"drop", ifAny(len(r.drops), r.dropTable)},
		section{"transfer", ifAny(len(r.transfers), r.transferTable)})
	add("failover.md", section{"failover", ifAny(len(r.failovers), r.failoverTable)})
	add("control.md", section{"control", ifAny(len(r.controls), r.controlTable)})
	if r.handover != nil {
		add("handover.md", section{"gap", r.handoverTable()})
	}
	add("handover.md", section{"drain", ifAny(len(r.drains), r.drainTable)})
	return all
}

// write puts the tables between the marks in the pages of a directory, and the
// plots beside them.
func (r *report) write(dir string) error {
	machine, err := machine()
	if err != nil {
		return err
	}
	for _, p := range r.pages() {
		if err := writePage(filepath.Join(dir, p.file), append(p.sections, section{"machine", machine})); err != nil {
			return err
		}
	}
	return r.plots(dir)
}

// writePage renews sections of a page by their names.
func writePage(path string, sections []section) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	text := string(page)
	for _, s := range sections {
		if text, err = replaceSection(text, s.name, s.table); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// replaceSection puts text between <!-- begin NAME --> and <!-- end NAME -->.
func replaceSection(page, name, text string) (string, error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, found := strings.Cut(page, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("no %q and %q to put a table between", strings.TrimSpace(begin), end)
	}
	return head + begin + "\n" + text + "\n" + end + tail, nil
}

// machine describes what the figures are of.
func machine() (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", fmt.Errorf("read the kernel's version: %w", err)
	}
	model, virtual, err := processor()
	if err != nil {
		return "", err
	}
	kind := "a physical machine"
	if virtual {
		kind = "a virtual machine"
	}
	var versions []string
	for _, line := range []string{"iptables -V", "nft -v", "keepalived --version"} {
		words := strings.Fields(line)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput() // keepalived tells on the second
		if err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
		first, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		versions = append(versions, string(first))
	}
	return fmt.Sprintf("Measured on %s with %d CPUs (%s), Linux %s, %s.\n",
		kind, runtime.NumCPU(), model, unix.ByteSliceToString(uts.Release[:]), strings.Join(versions, ", ")), nil
}

// processor reads the CPU's name, and whether a hypervisor is below.
func processor() (model string, virtual bool, err error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", false, fmt.Errorf("read the processor's name: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			virtual = strings.Contains(value+" ", " hypervisor ")
		}
	}
	return model, virtual, lines.Err()
}
