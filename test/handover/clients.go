package handover

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// Load is what clients do all the time.
type Load struct {
	Connections int           // that are kept open
	Period      time.Duration // between two requests on each
	Visits      int           // further connections a second, for one request each
}

// How visitors behave.
const (
	openers      = 64                     // connections that are opened at once when all begin
	longestThink = 300 * time.Millisecond // between a visitor's connection and its request
)

// clients use a cluster, and note how that goes.
type clients struct {
	ns        *lab.Namespace
	targets   []netip.Addr // IPv4 first
	addresses []netip.Addr
	load      Load

	mu      sync.Mutex
	began   time.Time
	leaving map[string]bool // nodes whose connections are to be ended in order
	kept    map[string]int  // connections with each node, of those that are kept
	tally
}

// A tally is what clients have seen.
type tally struct {
	Opened  int // connections that are kept, first ones and those that followed others
	Ended   int // of them in order, since their node was to be stopped
	Broken  []Broken
	Answers int // on connections that are kept
	Slow    int // of them after more than slowAnswer
	Slowest time.Duration
	Visits  int
	Failed  []Broken // visits, and connections that could not be opened
	Syns    []Syn    // that were repeated
}

// slowAnswer is more than an answer takes where nothing has to be sent twice:
// Linux waits for 200 ms at least before it does that (TCP_RTO_MIN).
const slowAnswer = 150 * time.Millisecond

// Broken is a connection that broke, or could not be opened.
type Broken struct {
	Client netip.Addr
	After  time.Duration // since the clients began
	Server string        // empty: nobody had answered yet
	Why    string
}

// Syn is a connection whose SYN had to be repeated.
type Syn struct {
	Sent    time.Duration // the first one, since the clients began
	Repeats int
}

func newClients(l *lab.Lab, load Load) *clients {
	return &clients{ns: l.Clients, targets: l.Targets(), addresses: l.ClientAddresses(), load: load,
		began: time.Now(), leaving: map[string]bool{}, kept: map[string]int{}}
}

func (c *clients) note(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
}

func (c *clients) since() time.Duration { return time.Since(c.began) }

// keep opens the connections that are kept, and returns when all of them have
// been answered. They are kept until ctx ends; running then becomes zero.
func (c *clients) keep(ctx context.Context, running *sync.WaitGroup) {
	var first sync.WaitGroup
	turn := make(chan struct{}, openers)
	for i := range c.load.Connections {
		first.Add(1)
		turn <- struct{}{}
		running.Go(func() {
			ready := sync.OnceFunc(func() {
				<-turn
				first.Done()
			})
			for ctx.Err() == nil {
				c.keepOne(ctx, c.addresses[i%len(c.addresses)], ready)
			}
		})
	}
	first.Wait()
}

// keepOne opens a connection and keeps it until it breaks, its node is to stop,
// or ctx ends.
func (c *clients) keepOne(ctx context.Context, client netip.Addr, ready func()) {
	defer ready()
	o, err := c.try(client)
	if err != nil {
		wait(ctx, c.load.Period)
		return
	}
	c.note(func() { c.Opened++ })
	defer func() {
		o.Close()
		c.note(func() { c.kept[o.server]-- }) // "": nobody has answered
	}()
	for first := true; ; first = false {
		took, err := o.ask(ask)
		if err != nil {
			c.note(func() { c.Broken = append(c.Broken, Broken{client, c.since(), o.server, short(err)}) })
			return
		}
		ready()
		leave := false
		c.note(func() {
			c.Answers++
			if first {
				c.kept[o.server]++
			}
			c.Slowest = max(c.Slowest, took)
			if took > slowAnswer {
				c.Slow++
			}
			if leave = c.leaving[o.server]; leave {
				c.Ended++
			}
		})
		pause := c.load.Period
		if first {
			pause = part(c.load.Period) // so that not all ask at once
		}
		if leave {
			return
		}
		if !wait(ctx, pause) {
			time.Sleep(part(c.load.Period)) // so that not all end at once
			return
		}
	}
}

// part is some part of a time.
func part(of time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(of))) }

// try opens a connection, and notes how that went.
func (c *clients) try(client netip.Addr) (*connection, error) {
	sent := c.since()
	o, err := c.open(client)
	c.note(func() {
		if err != nil {
			c.Failed = append(c.Failed, Broken{client, c.since(), "", short(err)})
		} else if o.repeats > 0 {
			c.Syns = append(c.Syns, Syn{sent, o.repeats})
		}
	})
	return o, err
}

// visit opens further connections until ctx ends, and waits for their ends.
func (c *clients) visit(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(time.Second / time.Duration(c.load.Visits))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			running.Go(c.visitOnce)
		}
	}
}

// visitOnce asks once. Every other time the server ends the connection first,
// and then TIME_WAIT is there; every other time the client thinks for a while
// before it asks.
func (c *clients) visitOnce() {
	client := c.addresses[rand.IntN(len(c.addresses))]
	c.note(func() { c.Visits++ })
	o, err := c.try(client)
	if err != nil {
		return
	}
	defer o.Close()
	if rand.IntN(2) == 0 {
		time.Sleep(part(longestThink))
	}
	request := ask
	if rand.IntN(2) == 0 {
		request = askLast
	}
	if _, err = o.ask(request); err != nil {
		c.note(func() { c.Failed = append(c.Failed, Broken{client, c.since(), "", short(err)}) })
	}
}

// with is how many connections that are kept a node has.
func (c *clients) with(node string) (n int) {
	c.note(func() { n = c.kept[node] })
	return n
}

// leave has the connections with a node ended after their next answers, or no
// longer.
func (c *clients) leave(node string, on bool) { c.note(func() { c.leaving[node] = on }) }

// wait waits for some time, and says whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
