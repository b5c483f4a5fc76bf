package member

// OrderKind is what a command asks for.
type OrderKind uint8

// The kinds of orders.
const (
	NoOrder     OrderKind = iota
	Drain                 // the node gives its buckets away and stays
	Undrain               // … no more
	SetWeight             // the node gets the order's weight
	ResetWeight           // the node gets the weight in its file
)

// Order is a command about a node. It can be given on any node, and is carried
// out by whoever proposes views, because every heartbeat of the node that was
// asked repeats it. What came of it is in the view: it outlives all processes.
type Order struct {
	Kind   OrderKind
	Node   NodeID
	Weight uint16 // of SetWeight; 0..MaxWeight
}

// Order asks for something, instead of what was asked for before. The view in
// force shows when it has been done (Done); with Kind NoOrder nothing is asked
// for any more.
func (m *Member) Order(now Time, o Order) {
	m.begin(now)
	m.order = o
	m.changed = true
	m.step()
}

// Done reports whether a view is as an order asks for.
func (o Order) Done(v *ViewHeader) bool {
	if v == nil || o.Node == 0 || o.Node > MaxNodes {
		return false
	}
	e := v.Members[o.Node-1]
	switch o.Kind {
	case Drain:
		return e.Drained != 0
	case Undrain:
		return e.Drained == 0
	case SetWeight:
		return e.OrderedBy != 0 && e.Ordered == o.Weight
	case ResetWeight:
		return e.OrderedBy == 0
	}
	return true
}

// obey forgets an order that the view in force fulfils.
func (m *Member) obey() {
	if m.order.Kind != NoOrder && m.active != nil && m.order.Done(&m.active.ViewHeader) {
		m.order = Order{}
		m.changed = true
	}
}

// wishOrders carries out what nodes are asked for. Where two orders contradict
// each other, the one of the higher id is done and the other waits.
func (m *Member) wishOrders(c *change) {
	var drains, weights Set // the nodes that there is an order about
	for left := m.heardSet().With(m.cfg.Self); left != 0; {
		by := left.last()
		left = left.Without(by)
		o := m.order
		if by != m.cfg.Self {
			o = m.peers[by].hb.Order
		}
		if o.Kind == NoOrder || o.Node == 0 || o.Node > MaxNodes {
			continue
		}
		about := &weights
		if o.Kind == Drain || o.Kind == Undrain {
			about = &drains
		}
		if !about.Has(o.Node) && !o.Done(c.ViewHeader) {
			m.wishOrder(c, o, by)
		}
		*about = about.With(o.Node)
	}
}

func (m *Member) wishOrder(c *change, o Order, by NodeID) {
	e := &c.Members[o.Node-1]
	switch o.Kind {
	case Drain:
		e.Drained = by
		if e.State == Serving {
			e.State = Draining
		}
		c.because("%s is drained, asked for on %s", m.name(o.Node), m.name(by))
	case Undrain:
		e.Drained = 0
		if e.State == Draining {
			e.State = Serving
		}
		c.because("%s is drained no more, asked for on %s", m.name(o.Node), m.name(by))
	case SetWeight:
		e.Ordered, e.OrderedBy = min(o.Weight, MaxWeight), by
		c.because("%s is to have weight %d, asked for on %s", m.name(o.Node), e.Ordered, m.name(by))
	case ResetWeight:
		e.Ordered, e.OrderedBy = 0, 0
		c.because("%s is to have the weight in its file, asked for on %s", m.name(o.Node), m.name(by))
	}
}

// entry is what a node's entry becomes when it is put into a view. What was
// ordered for it stays.
func (m *Member) entry(n NodeID, old Entry) Entry {
	e := Entry{Incarnation: m.incarnationOf(n), State: Serving, Drained: old.Drained, Ordered: old.Ordered, OrderedBy: old.OrderedBy}
	if e.Drained != 0 {
		e.State = Draining
	}
	e.Weight = min(m.weightOf(n, e), m.limitOf(n))
	return e
}

// weightOf is the weight that a node is to have while it is well: as was
// ordered, else as its file says. A voter only stays one.
func (m *Member) weightOf(n NodeID, e Entry) uint16 {
	file := m.cfg.Weight
	if n != m.cfg.Self {
		file = m.peers[n].hb.Weight
	}
	if file != 0 && e.OrderedBy != 0 {
		return e.Ordered
	}
	return file
}

// limitOf is what a node's health allows.
func (m *Member) limitOf(n NodeID) uint16 {
	if n == m.cfg.Self {
		return m.limit
	}
	return m.peers[n].hb.Limit
}

// Health reports the largest weight that this node's own checks allow it.
func (m *Member) Health(now Time, limit uint16) {
	m.begin(now)
	if limit != m.limit {
		m.limit, m.changed = limit, true
	}
	m.step()
}

// wishWeights follows what nodes say of their weight and their health. Where
// none of those that serve is well, the policy may be to leave it as it is.
func (m *Member) wishWeights(c *change) {
	keep := m.cfg.KeepIll && m.allIll(c)
	for left := c.live(); left != 0; left &= left - 1 {
		n := left.first()
		e := &c.Members[n-1]
		if n != m.cfg.Self && !m.hears(n) {
			continue
		}
		w, limit := m.weightOf(n, *e), m.limitOf(n)
		if limit < w && keep {
			continue
		}
		if w = min(w, limit); w == e.Weight {
			continue
		}
		e.Weight = w
		if limit == w {
			c.because("%s has weight %d for its health", m.name(n), w)
		} else {
			c.because("%s has weight %d", m.name(n), w)
		}
	}
}

// allIll reports whether nobody that should serve is well enough for it.
func (m *Member) allIll(c *change) bool {
	for i, e := range c.Members {
		n := NodeID(i + 1)
		if e.State == Serving && (n == m.cfg.Self || m.hears(n)) && min(m.weightOf(n, e), m.limitOf(n)) > 0 {
			return false
		}
	}
	return true
}
