package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/control"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/netdev"
	"golang.org/x/sys/unix"
)

// stopTimeout is how long an agent is given to take itself down.
const stopTimeout = 5 * time.Second

// down takes away everything, in reverse: addresses, MAC filters, programs,
// sysctls. While a cluster address cannot be removed the programs stay, without
// a lease: without them this host would answer for it, beside its owner.
func (a *Agent) down() error {
	for _, l := range a.links {
		if l.config.L2 == cluster.IGMP && l.link.Index != 0 {
			a.sendAdvertisement(l, true)
		}
	}
	err := removeAddresses(a.state)
	for _, l := range a.links {
		if l.filter != nil {
			l.filter.Close()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w; the data plane stays, and keeps this node silent: try `shoal down %s`", err, a.cluster.Name),
			a.plane.Close())
	}
	err = a.plane.Remove()
	kept, finishErr := finish(a.paths, a.state)
	for _, c := range kept {
		a.log.Warn("left a sysctl alone that somebody else has changed", "key", c.Key, "now", c.New, "was", c.Old)
	}
	return errors.Join(err, finishErr)
}

func removeAddresses(s *State) error {
	var errs []error
	for _, e := range s.Addresses {
		errs = append(errs, removeAddress(e))
	}
	return errors.Join(errs...)
}

// finish does the part of taking down that needs no data plane.
func finish(p Paths, s *State) ([]netdev.Change, error) {
	kept, err := undo(p, s)
	if err != nil {
		return kept, err
	}
	removeRoot(p)
	return kept, nil
}

// undo puts settings of the host back and forgets them. Where that fails the
// state stays, for another try.
func undo(p Paths, s *State) ([]netdev.Change, error) {
	unlock, err := lockRoot()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.Tracking {
		err = netdev.UntrackConnections(p.Cluster)
	}
	kept, failed := restoreSysctls(p, s)
	if err := errors.Join(err, failed); err != nil {
		return kept, err
	}
	return kept, removeState(p)
}

// Down takes a cluster off this host, whatever its agent is doing: one that
// runs is told to leave, one that does not answer is killed, and what one left
// behind is removed. Where there is nothing it does nothing and returns false.
func Down(ctx context.Context, p Paths) (bool, error) {
	s, err := loadState(p)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(p.Pins()); s == nil && errors.Is(err, fs.ErrNotExist) {
		// An agent may have been killed while it came or went.
		if err := control.Ask(p.socket(), time.Second, opStatus, nil, nil); errors.Is(err, control.ErrNoAgent) {
			_ = os.Remove(p.socket())
		}
		removeRoot(p)
		return false, nil
	}
	if s != nil {
		vanished, err := s.checkNamespace(p)
		if err != nil {
			return false, err
		}
		if vanished {
			return true, removeFiles(p)
		}
	}
	if s != nil && !s.gone() {
		if err := stop(ctx, s.PID); err != nil {
			return true, fmt.Errorf("stop the agent (process %d): %w", s.PID, err)
		}
	}
	return true, removeLeftovers(p)
}

// removeLeftovers removes what an agent left behind. Addresses first: without programs
// this host would answer for them.
func removeLeftovers(p Paths) error {
	s, err := loadState(p)
	if err != nil {
		return err
	}
	if s != nil {
		if err := s.Heartbeat.kill(); err != nil {
			return err
		}
		err = removeAddresses(s)
	} else {
		s = &State{} // it did everything itself, or what it wrote down is lost
		err = removePinnedAddresses(p)
	}
	if err != nil {
		return err
	}
	if err := dataplane.Remove(p.Pins()); err != nil {
		return err
	}
	_, err = finish(p, s)
	return err
}

// removeFiles removes what is left of a cluster whose network namespace is gone.
func removeFiles(p Paths) error {
	if err := dataplane.Remove(p.Pins()); err != nil {
		return err
	}
	_, err := finish(p, &State{})
	return err
}

// removePinnedAddresses goes by what the data plane takes for cluster addresses.
func removePinnedAddresses(p Paths) error {
	addrs, err := dataplane.Addresses(p.Pins())
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range addrs {
		errs = append(errs, netdev.RemoveAddressEverywhere(addr))
	}
	return errors.Join(errs...)
}

// stop ends a process: with SIGTERM, and SIGKILL if that is not enough. The
// file descriptor makes sure that it is that process and no later one.
func stop(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGCONT} { // a stopped process hears nothing else
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	ended, err := awaitExit(ctx, fd, stopTimeout)
	if ended || err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	if ended, err = awaitExit(ctx, fd, stopTimeout); !ended && err == nil {
		err = errors.New("it does not end")
	}
	return err
}

// awaitExit waits until a process has ended: its descriptor becomes readable.
func awaitExit(ctx context.Context, pidfd int, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}
