package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// on reads [on INTERFACE] and returns the interfaces that are meant.
func (w *World) on(args []string) (interfaces uint8, err error) {
	all := uint8(1)<<w.Interfaces - 1
	if len(args) == 0 {
		return all, nil
	}
	if len(args) != 2 || args[0] != "on" {
		return 0, fmt.Errorf("want on INTERFACE or nothing")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 || n >= w.Interfaces {
		return 0, fmt.Errorf("no interface %s", args[1])
	}
	return 1 << n, nil
}

// pair reads 1->2 or 1-2.
func (w *World) pair(text string) (from, to *host, both bool, err error) {
	a, b, oneWay := strings.Cut(text, "->")
	if !oneWay {
		a, b, _ = strings.Cut(text, "-")
	}
	from, to = w.host(a), w.host(b)
	if from == nil || to == nil || from == to {
		return nil, nil, false, fmt.Errorf("%q is no pair of hosts", text)
	}
	return from, to, !oneWay, nil
}

func doCut(w *World, _ *host, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("who?")
	}
	interfaces, err := w.on(args[2:])
	if err != nil {
		return err
	}
	verb, cut := args[0], args[0] != "mend"
	if verb == "deaf" || verb == "mute" {
		h := w.host(args[1])
		if h == nil {
			return fmt.Errorf("no host %s", args[1])
		}
		for _, other := range w.hosts {
			if other == h {
			} else if verb == "deaf" {
				w.cut(other, h, interfaces, true)
			} else {
				w.cut(h, other, interfaces, true)
			}
		}
		return nil
	}
	if h := w.host(args[1]); h != nil && verb == "mend" {
		for _, other := range w.hosts {
			w.cut(h, other, interfaces, false)
			w.cut(other, h, interfaces, false)
		}
		return nil
	}
	from, to, both, err := w.pair(args[1])
	if err != nil {
		return err
	}
	w.cut(from, to, interfaces, cut)
	if both {
		w.cut(to, from, interfaces, cut)
	}
	return nil
}

func (w *World) cut(from, to *host, interfaces uint8, cut bool) {
	for iface := range w.Interfaces {
		if interfaces>>iface&1 == 0 {
			continue
		}
		s := &w.network.cut[iface][from.index]
		if cut {
			*s |= 1 << to.index
		} else {
			*s &^= 1 << to.index
		}
	}
}

func doLossy(w *World, _ *host, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want a pair and a percentage")
	}
	from, to, both, err := w.pair(args[1])
	if err != nil {
		return err
	}
	loss, err := perCent(args[2])
	w.network.loss[from.index][to.index] = loss
	if both {
		w.network.loss[to.index][from.index] = loss
	}
	return err
}

// perCent reads a percentage as millionths.
func perCent(text string) (uint32, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || p < 0 || p > 100 {
		return 0, fmt.Errorf("%q is no percentage", text)
	}
	return uint32(p * 10_000), nil
}

func doSplit(w *World, _ *host, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want groups: 1,2/3")
	}
	group := map[*host]int{}
	for i, names := range strings.Split(args[0], "/") {
		for name := range strings.SplitSeq(names, ",") {
			h := w.host(name)
			if h == nil {
				return fmt.Errorf("no host %s", name)
			}
			group[h] = i + 1
		}
	}
	for _, from := range w.hosts {
		for _, to := range w.hosts {
			if from != to && group[from] != group[to] {
				w.cut(from, to, 0xff, true)
			}
		}
	}
	return nil
}

func doHeal(w *World, _ *host, _ []string) error {
	n := &w.network
	clear(n.cut[:])
	clear(n.loss[:])
	n.weather = weather{delayMin: n.delayMin, delayMax: w.usualDelay(), loss: w.Noise}
	for _, h := range w.hosts {
		h.slow, h.late, h.outside = 0, 0, true
		if h.waking { // what waits for a slow process does not have to any more
			w.catchUp(h)
		}
		w.setCarrier(h, 1<<w.Interfaces-1)
	}
	return nil
}

func doPlug(w *World, h *host, args []string) error {
	interfaces, err := w.on(args[1:])
	if err != nil {
		return err
	}
	if args[0] == "plug" {
		w.setCarrier(h, h.carrier|interfaces)
	} else {
		w.setCarrier(h, h.carrier&^interfaces)
	}
	return nil
}

// setCarrier changes a host's links; its process hears of it a little later.
func (w *World) setCarrier(h *host, up uint8) {
	if h.carrier != up {
		h.carrier = up
		w.queue.push(event{at: w.now + draw(w.noise, 0, 2*millisecond), kind: carrier, host: uint8(h.index)})
	}
}

func doWeather(w *World, _ *host, args []string) (err error) {
	n := &w.network
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var d time.Duration
		switch key {
		case "loss":
			n.weather.loss, err = perCent(value)
		case "duplicate":
			n.duplicate, err = perCent(value)
		case "late":
			if n.late > 0 { // the last ones are on their way
				w.oracle.peace = w.now + n.lateMax
			}
			n.late, err = perCent(value)
		case "replay":
			if n.weather.replay > 0 { // the last recordings told something, too
				w.oracle.peace = w.now
			}
			n.weather.replay, err = perCent(value)
		case "delay":
			d, err = time.ParseDuration(value)
			n.delayMax = max(instant(d), n.delayMin)
			n.slowest = max(n.slowest, n.delayMax)
		case "latemax":
			d, err = time.ParseDuration(value)
			n.lateMax = instant(d)
		default:
			err = fmt.Errorf("no such key: %s", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
