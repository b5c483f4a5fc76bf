package sim

var mutations = []mutation{
	{"drift", "L3: the margin for clocks", []edit{
		{"const Drift = 1030", "const Drift = 1000"}}},
	{"receipt", "L1: a lease counts from the sending", []edit{
		{"deadline = stamp + m.cfg.Lease", "deadline = m.now + m.cfg.Lease"}}},
	{"echo", "L5: no echo to those voted out", []edit{
		{"if m.grants(n, m.body.Echoes[n-1].Incarnation) && !opposed {", "if n > 0 || opposed {"}}},
	{"restart", "R2: silence after a start; what may have been granted counts as heard", []edit{
		{"return m.now < m.started+m.patience()", "return false"},
		{"return m.now - max(m.lastWord(n), m.started)", "return m.now - m.lastWord(n)"},
		{"last := m.started", "last := Time(0)"}}},
	{"disk", "R1: on disk before it is said", []edit{
		{"Suspects: m.suspects(), Promised: m.durable.promised", "Suspects: m.suspects(), Promised: m.wanted.promised"},
		{"if a := m.durable.accepted; a != nil {\n\t\tm.body.Accepted", "if a := m.wanted.accepted; a != nil {\n\t\tm.body.Accepted"}}},
	{"vote", "L3: a voter judges by what it heard itself", []edit{
		{"return m.silent(n) && (v.Alone || m.now-v.votersSince >= m.patience())", "return true"}}},
	{"accused", "V5: a majority suspects who is put out", []edit{
		{"return by.majority(voters)", "return by != 0"}}},
	{"taking", "T3: the new owner waits for the old one's word", []edit{
		{"waiting = waiting.With(n)", "waiting = 0"}}},
	{"moves", "T2: old owners are remembered", []edit{
		{"v.Moves = append(v.Moves, Move{uint16(b), old})", "continue"}}},
	{"settled", "T2: moves are kept until all have followed", []edit{
		{"left := parent.leavers & m.acts; left", "left := parent.leavers; left"}}},
	{"acting", "T2: in force before it is said", []edit{
		{"m.body.Active, m.body.Lineage, m.body.Acting = m.active.ID(),", "m.body.Active, m.body.Lineage, m.body.Acting = m.wanted.accepted.ID(),"}}},
	{"half", "V2: a majority is more than half", []edit{
		{"2*(s&voters).Len() > voters.Len()", "2*(s&voters).Len() >= voters.Len()"}}},
	{"quorum", "L1: a majority grants a lease", []edit{
		{"need := voters.Len()/2 + 1", "need := (voters.Len() + 1) / 2"}}},
	{"grants", "L2: an echo counts for one set of voters", []edit{
		{"p.grantOf == grants &&", "p.grantOf|grants != 0 &&"}}},
	{"replay", "M3: who greets must echo something fresh", []edit{
		{"if e.Incarnation != m.incarnation || e.Sent <= p.echoed || e.Sent > m.sent || m.now-e.Sent >= m.cfg.Lease {", "if e.Sent < 0 {"}}},
	{"amnesia", "R3: no vote without memory", []edit{
		{"m.amnesiac, m.forgot = stored == nil, stored == nil", "m.amnesiac, m.forgot = false, stored == nil"}}},
	{"fence", "S3: fenced is said when it is true", []edit{
		{"\tm.zero()\n", ""},
		{"if !m.inActive() || m.state == Fenced || m.stale {", "if !m.inActive() || m.stale {"}}},
	{"voters", "V6: the old voters have a say", []edit{
		{"c.OldVoters, c.Voters = c.Voters, target", "c.OldVoters, c.Voters = target, target"}}},
	{"newvoters", "V6: leases on the old voters run out first", []edit{
		{"return m.silent(n) && (v.Alone || m.now-v.votersSince >= m.patience())", "return m.silent(n)"}}},
	{"promise", "V3: no vote below a promise", []edit{
		{"v.Epoch >= m.wanted.promised &&", "true &&"}}},
	{"chain", "V5: built on the newest view accepted", []edit{
		{"parent, known = m.newest(by)", "parent, known = m.wanted.accepted, true"}}},
	{"evidence", "A2: something outside answers", []edit{
		{"m.silence(n) < m.quiet() || m.evidence <= m.lastWord(n)", "m.silence(n) < m.quiet()"},
		{"(m.silence(n) < m.patience() || m.evidence <= m.lastWord(n))", "m.silence(n) < m.patience()"}}},
	{"alone", "A1: nothing heard for longer than any lease", []edit{
		{"(m.silence(n) < m.patience() || m.evidence <= m.lastWord(n))", "m.evidence <= m.lastWord(n)"},
		{"return m.silent(n) && (v.Alone ||", "return v.Alone || m.silent(n) && ("}}},
	{"rival", "A4: who hears another serve alone stops", []edit{
		{"m.mute() || m.rivalled() {", "m.mute() {"}}},
	{"warned", "A4: who did not hear the warnings has lost touch by then", []edit{
		{"m.serves() || m.opposed() || !decided", "m.serves() || !decided"}}},
	{"hearsay", "A4: who does not serve speaks for those that do", []edit{
		{"if hb.Echoes[left.first()-1].Heard != 0 {", "if false {"}}},
	{"unproved", "A4: one that does not hear this node is heeded, too", []edit{
		{"unproved && m.opposes(p.candLineage)", "unproved && false"},
		{"opposed := m.opposed()", "opposed := false"}}}, // which covers for it in this script
	{"opposed", "A4: who hears one that serves in another line gives no leases", []edit{
		{"opposed := m.opposed()", "opposed := false"}}},
	{"met", "A4: whom a node has just heard is its rival, also when it begins another line then", []edit{
		{"\tm.meetRivals()\n", ""}}},
	{"crossed", "A5: a line is deserted, too, by one that serves in this one", []edit{
		{"hb.Lineage != a.Lineage || !holds {", "hb.Lineage != a.Lineage || !holds || serving(hb.State) {"}}},
	{"third", "A4: nobody goes on alone while a third one serves", []edit{
		{"(!p.hb.Suspects.Has(n) || serving(p.hb.State))", "!p.hb.Suspects.Has(n)"}}},
	{"heeded", "R4: whom the process before heard is heeded", []edit{
		{"m.rivalAt, m.heeds = s.RivalAt, s.Heeds", "_ = s.Heeds"}}},
	{"begun", "A4: who has begun warns until it serves", []edit{
		{"begun := a != nil &&", "begun := false &&"}}},
	{"counted", "A4: who hears a warning counts its own anew", []edit{
		{"since = max(since, p.warnedAt)", "_ = p.warnedAt"}}},
	{"newcomer", "A3: nobody joins at once who goes on alone", []edit{
		{"if m.beginsAlone() || ", "if "},
		{"opposed := m.opposed()", "opposed := false"}}}, // which covers for it in this script
	{"unaccepted", "A1: … also on top of a view that it could not accept", []edit{
		{"m.alone() && m.sameVoters(parent)", "parent == m.wanted.accepted && m.alone()"}}},
	{"overdue", "A5: only who has a lease prevails over one that comes back from a later view", []edit{
		{"(m.serves() && m.deadline >= m.now || m.deserted(o, by))", "(m.serves() || m.deserted(o, by))"}}},
	{"recalled", "R3: of the new voters, too, enough are heard", []edit{
		{"if !m.recalled(voters, fresh, forgetful) || !m.recalled(old, fresh, forgetful) {", "if !m.recalled(voters|old, fresh, forgetful) {"}}},
	{"reforgotten", "R3: what is learned without memory is none, before that has come back", []edit{
		{"m.amnesiac || m.wanted == m.durable ||", "m.wanted == m.durable ||"}}},
	{"ownline", "A1: … while it serves, too", []edit{
		{"(parent == nil || parent.Lineage != a.Lineage)", "(parent == nil || true)"}}},
	{"retires", "A1: … not by who is to be a voter no more", []edit{
		{"voters.Len() != 2 || retires {", "voters.Len() != 2 || retires && false {"}}},
	{"bygone", "A4: what another incarnation says while the sender lives is not heeded", []edit{
		{"if m.doubles(p, msg, hb) {", "if hb.Alone && m.cfg.Available {\n\t\tp.warnedAt, p.warnedAs, p.warnedSent, m.rivalAt = arrived, msg.Incarnation, hb.Sent, m.now\n\t}\n\tif m.doubles(p, msg, hb) {"}}},
	{"retired", "A4: who is not in its own file does not go on alone", []edit{
		{"(m.sole() || next.Alone && retired)", "(m.sole() || retired && false)"}}},
	{"leaves", "A4: who leaves does not warn", []edit{
		{"m.cfg.Cluster&^m.carrier != 0 || m.leaveBy != 0 || m.held != \"\" { // nobody", "m.cfg.Cluster&^m.carrier != 0 { // nobody"}}},
	{"lagged", "A6: the next heartbeat may be here, unread", []edit{
		{"max(m.cfg.Lease-2*m.cfg.Interval, 3*m.cfg.Interval/2)", "m.cfg.Lease - 2*m.cfg.Interval"}}},
	{"extend", "A6: something outside answers who extends its lease", []edit{
		{"last < m.extending() || m.evidence <= last", "last < m.extending()"}}},
	{"undecided", "A6: who is one of two is so on disk", []edit{
		{"if m.durable.accepted != m.wanted.accepted {\n\t\treturn 0 // who", "if false {\n\t\treturn 0 // who"}}},
	{"strangers", "P1: only those who could take over make a mute node give up", []edit{
		{"(m.couldServe(n) || m.couldServe(o))", "true"}}},
	{"lapse", "P1: who cannot hear says so", []edit{
		{"m.fence(\"its lease ran out: too few of the others answer\")", ""}}},
	{"newest", "M1: an older heartbeat says nothing", []edit{
		{"if !fresh && hb.Sent <= p.hb.Sent {", "if !fresh && hb.Sent < 0 {"}}},
	{"resumed", "L4: who was stopped reads first, and accuses nobody yet", []edit{
		{"m.graceUntil = now + m.grace()", "m.graceUntil = now"}}},
	{"handed", "R4: the new process goes on in the incarnation of the old one", []edit{
		{"m.incarnation, m.previous, m.state = s.Incarnation, s.Previous, s.State", "m.previous = s.Incarnation"}}},
	{"forgotten", "R4: … and forgets no more and no less", []edit{
		{"m.amnesiac, m.forgot, m.spent = s.Amnesiac, s.Forgot, s.Spent", "m.spent = s.Spent"}}},
	{"leaving", "S6: leaving is not gone", []edit{
		{"return p.hb.State == Fenced", "return p.hb.State >= Leaving"}}},
	{"held", "S6: a node that gives up for no need of its clients hands over first", []edit{
		{"m.now >= m.heldAt+m.cfg.Lease", "true"}}},
	{"outlived", "T7: who was outlived destroys its flows first", []edit{
		{"m.inView, m.stale, m.sweptAt = false, true, 0", "m.inView = false"}}},
	{"again", "T7: … also when it had been swept already in that view", []edit{
		{"m.inView = true // also", "// also"}}},
	{"unawares", "T7: … also if it did not hear of it", []edit{
		{"m.inView && !m.abreast()", "false"},
		{"m.deadline = 0\n\t\t\tm.returns(prev, v)", "m.deadline = 0"}}},
	{"kept", "T5: the new owner leaves old flows to the old one", []edit{
		{"case was == owned || !m.cfg.Keep:", "case true:"}}},
	{"regained", "T5: what comes back keeps its flows", []edit{
		{"case !mine && old&waiting != 0 && m.cfg.Keep && was != foreign:", "case false:"}}},
	{"remembered", "R4: the table goes on, too", []edit{
		{"m.restored(s.Tabled), s.Frozen", "nil, s.Frozen"},
		{"copy(m.states, s.States)", "_ = s.States"}}},
	{"contradiction", "orders that contradict each other wait", []edit{
		{"if !about.Has(o.Node) && !o.Done(c.ViewHeader) {", "if !o.Done(c.ViewHeader) {"}}},
}
