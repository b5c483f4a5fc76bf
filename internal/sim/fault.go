package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// Faults and other things that people and hardware do to a cluster, one per
// line. Scripts are made of them and random schedules, too, so that a schedule
// that failed can be read and kept as a script. HOST is the id of a node, with
// a ' for the second host that has it.
var verbs = map[string]func(w *World, h *host, args []string) error{
	"start":     doStart,     // start HOST [amnesia]: start the process, and the machine if it is off
	"kill":      doKill,      // kill HOST [torn N]: SIGKILL, in the middle of its next effects if torn
	"pause":     doPause,     // pause HOST [torn N]: SIGSTOP, likewise
	"resume":    doResume,    // resume HOST
	"replace":   doReplace,   // replace HOST [GAP]: a new process goes on in the place of the old one
	"poweroff":  doPowerOff,  // poweroff HOST: all that is not on disk is gone
	"fence":     doFence,     // fence HOST: the agent is stuck, and its process told so
	"unfence":   doFence,     // unfence HOST: it goes on
	"gone":      doGone,      // gone HOST: the agent has ended, and its process has seen it
	"leave":     doLeave,     // leave HOST: the agent was asked to stop
	"duplicate": doDuplicate, // duplicate HOST [clone]: another machine with the same id, and a copy of its disk
	"reload":    doReload,    // reload HOST KEY=VALUE...: nodes=1,2,3 weight=200 partition=available
	"cut":       doCut,       // cut HOST->HOST, HOST-HOST [on INTERFACE]
	"mend":      doCut,       // mend, likewise; mend HOST: all to and from it
	"deaf":      doCut,       // deaf HOST [on INTERFACE]: hears nobody
	"mute":      doCut,       // mute HOST [on INTERFACE]: is heard by nobody
	"lossy":     doLossy,     // lossy HOST->HOST PERCENT
	"split":     doSplit,     // split 1,2/3: no frames between groups
	"heal":      doHeal,      // heal: all cuts mended, links up, loss gone, nobody slow
	"unplug":    doPlug,      // unplug HOST [on INTERFACE]: link down
	"plug":      doPlug,      // plug HOST [on INTERFACE]
	"order":     doOrder,     // order HOST drain|undrain NODE, weight NODE WEIGHT, reset NODE: a command is given on it
	"health":    doHealth,    // health HOST LIMIT: the largest weight that its checks allow
	"outside":   doOutside,   // outside HOST on|off: something outside answers it
	"slow":      doSlow,      // slow HOST DURATION: frames wait up to so long for the process
	"late":      doLate,      // late HOST DURATION: it wakes up to so much too late
	"disk":      doDisk,      // disk HOST DURATION: a write takes up to so long
	"rate":      doRate,      // rate HOST MILLIONTHS: its clock is too fast by so much
	"weather":   doWeather,   // weather KEY=VALUE...: loss duplicate late replay (per cent), delay latemax
	"stale":     doStale,     // stale HOST BUCKETS EPOCH: its data plane holds an old table without a lease
}

// Do performs one line.
func (w *World) Do(line string) error {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil
	}
	do, ok := verbs[fields[0]]
	if !ok {
		return fmt.Errorf("%q: no such command", fields[0])
	}
	w.tracef("--- %s", line)
	args := fields[1:]
	var h *host
	switch fields[0] {
	case "heal", "split", "weather":
	case "cut", "mend", "deaf", "mute", "lossy":
		args = fields
	default:
		if len(args) == 0 {
			return fmt.Errorf("%s: name a host", line)
		}
		if h = w.host(args[0]); h == nil {
			return fmt.Errorf("%s: no host %s", line, args[0])
		}
		args = args[1:]
	}
	switch fields[0] {
	case "unplug", "plug", "fence", "unfence":
		args = append(fields[:1:1], args...)
	}
	if err := do(w, h, args); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	w.settled()
	return nil
}

func (w *World) host(name string) *host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

func doStart(w *World, h *host, args []string) error {
	if h.process != nil {
		w.end(h)
	}
	if len(args) == 1 && args[0] == "amnesia" {
		if h.disk.content != nil {
			w.oracle.lost = w.oracle.lost.With(h.id)
		}
		h.disk.content = nil
	} else if len(args) > 0 {
		return fmt.Errorf("want amnesia or nothing")
	}
	if h.disk.content == nil && w.oracle.latest != nil {
		w.oracle.late = w.oracle.late.With(h.id)
	}
	w.mislead()
	w.start(h)
	return nil
}

// tearing reads [torn N].
func tearing(args []string) (int, error) {
	if len(args) == 0 {
		return 0, nil
	}
	if len(args) != 2 || args[0] != "torn" {
		return 0, fmt.Errorf("want torn N or nothing")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 || n >= effects {
		return 0, fmt.Errorf("want torn 1 to torn %d", effects-1)
	}
	return n, nil
}

func doKill(w *World, h *host, args []string) error {
	torn, err := tearing(args)
	if h.process == nil || err != nil {
		return err
	}
	h.killed = torn > 0 && !h.paused
	if h.killed {
		h.tear = torn
		return nil
	}
	w.end(h)
	return nil
}

func doPause(w *World, h *host, args []string) error {
	torn, err := tearing(args)
	if !h.running() || err != nil {
		return err
	}
	if torn > 0 {
		h.tear = torn
	} else {
		h.paused = true
	}
	return nil
}

func doResume(w *World, h *host, _ []string) error {
	h.tear, h.killed = 0, false
	if h.process == nil || !h.paused || h.takeover.state != nil {
		return nil
	}
	h.paused = false
	if h.torn >= 0 {
		w.do(h, h.process.Effects(), h.torn, effects)
		h.torn = -1
	}
	if h.process == nil { // the last of the effects was to end
		return nil
	}
	w.catchUp(h)
	w.inform(h)
	h.due = never
	w.schedule(h)
	return nil
}

func doPowerOff(w *World, h *host, _ []string) error {
	w.end(h)
	h.powered = false
	h.plane = plane{}
	w.destroy(h, w.all())
	w.oracle.refresh(w, h)
	return nil
}

// doFence ends or goes on with what the agent does; a process that is stopped
// learns of it when it goes on.
func doFence(w *World, h *host, args []string) error {
	if stuck := args[0] == "fence"; h.process != nil && h.stuck != stuck {
		h.stuck, h.fenced = stuck, w.now
		w.settled()
		w.inform(h)
	}
	return nil
}

func doGone(w *World, h *host, _ []string) error {
	if h.running() {
		h.stuck, h.held, h.fenced = true, true, w.now
		w.settled()
		h.process.Fence(h.clock.read(w.now), "its agent is gone")
		w.perform(h)
	}
	return nil
}

func doLeave(w *World, h *host, _ []string) error {
	if h.running() {
		h.leaving = true
		w.settled()
		h.process.Leave(h.clock.read(w.now))
		w.perform(h)
	}
	return nil
}

func doDuplicate(w *World, h *host, args []string) error {
	if len(w.hosts) == maxHosts || w.host(h.name+"'") != nil {
		return nil
	}
	d := newHost(w, len(w.hosts), h.id)
	d.name = h.name + "'"
	if len(args) > 0 {
		d.disk.content = h.disk.content
	}
	w.hosts = append(w.hosts, d)
	w.start(d)
	return nil
}

// doReload changes a file and has it read: by a process that is stopped when it
// goes on, as it gets its signals then.
func doReload(w *World, h *host, args []string) error {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "nodes":
			ids, err := set(value)
			if err != nil {
				return err
			}
			h.config.Listed, w.listed = ids, ids
		case "weight":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return err
			}
			h.config.Weight = uint16(n)
		case "partition":
			h.config.Available = value == "available"
		default:
			return fmt.Errorf("no such key: %s", key)
		}
	}
	h.unread = true
	w.mislead()
	w.settled()
	w.rereads(h)
	return nil
}

// set reads 1,2,3.
func set(list string) (s member.Set, err error) {
	for id := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(id)
		if err != nil || n < 1 || n > member.MaxNodes {
			return 0, fmt.Errorf("%q is no list of nodes", list)
		}
		s = s.With(member.NodeID(n))
	}
	return s, nil
}

func doOutside(_ *World, h *host, args []string) error {
	h.outside = len(args) == 1 && args[0] == "on"
	return nil
}

// duration reads the only argument.
func duration(args []string) (instant, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("want a duration")
	}
	d, err := time.ParseDuration(args[0])
	return instant(d), err
}

func doSlow(_ *World, h *host, args []string) (err error) {
	h.slow, err = duration(args)
	return err
}

func doLate(_ *World, h *host, args []string) (err error) {
	h.late, err = duration(args)
	return err
}

func doDisk(w *World, h *host, args []string) (err error) {
	w.oracle.peace = w.now + h.disk.slowest // a write may be under way
	h.disk.slowest, err = duration(args)
	return err
}

func doRate(w *World, h *host, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want millionths")
	}
	ppm, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || ppm < -10000 || ppm > 10000 {
		return fmt.Errorf("%s: want -10000 to 10000", args[0])
	}
	h.clock.setRate(w.now, ppm)
	w.oracle.queued[h.index] = 0 // its lease ends at another instant now
	w.oracle.refresh(w, h)
	if h.running() {
		h.due = never
		w.schedule(h)
	}
	return nil
}

// doStale gives a data plane what an earlier life of the node may have left.
func doStale(_ *World, h *host, args []string) error {
	if len(args) != 2 || h.plane.tableEpoch != 0 {
		return nil
	}
	table, err := strconv.ParseUint(args[0], 16, 64)
	if err != nil {
		return err
	}
	epoch, err := strconv.ParseUint(args[1], 10, 64)
	h.plane.table, h.plane.owned = table, table
	h.plane.tableEpoch, h.plane.leaseEpoch = epoch, epoch
	return err
}
