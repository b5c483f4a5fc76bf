package member

// maxKnown is how many views a member keeps: the ones that it needs, and some
// that others may propose on.
const maxKnown = 8

// fetching is the table of a view on its way, chunk by chunk.
type fetching struct {
	header ViewHeader
	id     ViewID
	from   NodeID
	got    []byte
	asked  Time
}

func (m *Member) find(id ViewID) *View {
	for _, v := range m.known {
		if v.Epoch == id.Epoch && v.Digest == id.Digest {
			return v
		}
	}
	return nil
}

// remember keeps a view, and forgets the oldest that nothing stands on.
func (m *Member) remember(v *View) {
	m.known = append(m.known, v)
	for len(m.known) > maxKnown {
		oldest := -1
		for i, o := range m.known {
			if o == v || o == m.active || o == m.wanted.accepted || o == m.durable.accepted || o == m.storing.accepted {
				continue
			}
			if oldest < 0 || o.Epoch < m.known[oldest].Epoch {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		m.known = append(m.known[:oldest], m.known[oldest+1:]...)
	}
}

// offer takes a view that another node shows.
func (m *Member) offer(from NodeID, h *ViewHeader, proved bool) {
	id := ViewID{h.Epoch, digest(h.AppendBinary(nil))}
	if h.Epoch <= m.acceptedEpoch() && h.Epoch <= Epoch(m.activeEpoch()) {
		return
	}
	v := m.find(id)
	if v == nil {
		if v = m.derive(h, id); v == nil {
			m.fetch(from, h, id)
			return
		}
		m.remember(v)
	}
	if proved {
		m.yield(v)
	}
}

// derive computes a view from its parent, nil where that is not known or leads
// to something else.
func (m *Member) derive(h *ViewHeader, id ViewID) *View {
	if h.Parent != (ViewID{}) && m.find(h.Parent) == nil {
		return nil
	}
	header := *h
	if v := m.build(&header); v.ID() == id {
		return v
	}
	return nil
}

// yield gives up at once where others have put this node out: they may have
// agreed already (clause S5).
func (m *Member) yield(v *View) {
	a := m.wanted.accepted
	if m.serves() && a != nil && v.Lineage == a.Lineage && v.Epoch > a.Epoch && !v.holds(m.cfg.Self, m.incarnation) && a.holds(m.cfg.Self, m.incarnation) {
		m.fence("the others put it out: " + v.Reason)
	}
}

// fetch asks for the table of a view whose parent is not known here (clause T4).
func (m *Member) fetch(from NodeID, h *ViewHeader, id ViewID) {
	f := &m.fetching
	if f.id != id {
		*f = fetching{header: *h, id: id}
	}
	f.from = from
	m.ask()
}

// ask repeats what is missing. Losing a chunk costs an interval.
func (m *Member) ask() {
	f := &m.fetching
	if f.id == (ViewID{}) || m.now-f.asked < m.cfg.Interval/2 {
		return
	}
	f.asked = m.now
	m.send(&Message{From: m.cfg.Self, Incarnation: m.incarnation,
		Body: &Fetch{To: f.from, View: f.id, From: uint16(len(f.got) / ChunkSize)}})
}

// burst is how many chunks answer one Fetch.
const burst = 16

// answer sends chunks of a table.
func (m *Member) answer(to NodeID, f *Fetch) {
	v := m.find(f.View)
	if f.To != m.cfg.Self || v == nil || m.mute() {
		return
	}
	table := v.AppendTable(nil)
	total := (len(table) + ChunkSize - 1) / ChunkSize
	for i := int(f.From); i < total && i < int(f.From)+burst; i++ {
		data := table[i*ChunkSize : min(len(table), (i+1)*ChunkSize)]
		m.send(&Message{From: m.cfg.Self, Incarnation: m.incarnation,
			Body: &Chunk{View: f.View, Index: uint16(i), Total: uint16(total), Data: data}})
	}
}

// knownSince is since when this node has known of the voters of a view (V6).
func (m *Member) knownSince(h *ViewHeader) Time {
	since := m.now
	for _, v := range m.known {
		if v.Lineage == h.Lineage && v.VotersFrom == h.VotersFrom {
			since = min(since, v.votersSince)
		}
	}
	return since
}

// collect takes a chunk: in order only, the others are asked for again.
func (m *Member) collect(from NodeID, c *Chunk) {
	f := &m.fetching
	if c.View != f.id || f.id == (ViewID{}) || int(c.Index)*ChunkSize != len(f.got) {
		return
	}
	f.got = append(f.got, c.Data...)
	if c.Index+1 < c.Total {
		if (c.Index+1)%burst == 0 {
			f.asked = 0
			m.ask()
		}
		return
	}
	v := &View{ViewHeader: f.header, Digest: f.id.Digest, votersSince: m.knownSince(&f.header)}
	var err error
	v.Owners, v.Moves, err = DecodeTable(f.got, m.cfg.Buckets)
	v.note()
	whole := err == nil && digest(f.got) == f.header.Table
	m.fetching = fetching{}
	if whole && m.find(v.ID()) == nil {
		m.remember(v)
		m.yield(v)
	}
}
