package fleet

import (
	"cmp"
	"slices"
	"strings"
	"unique"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// zeroFacts is a host's before its first report.
var zeroFacts unique.Handle[facts]

// takeFacts merges what a host says of itself and reports whether an answer
// could depend on what changed. An older client sends no address, so the one
// it came from counts, and no arch, so the one it had before does.
func (h *host) takeFacts(in intake, log *timeline, quiet bool) bool {
	req := in.report.Request
	old, oldIP := facts{}, h.ipText()
	if h.facts != zeroFacts {
		old = h.facts.Value()
	}
	h.setIP(cmp.Or(req.IP, in.report.Remote))
	h.setBoot(req.BootID)
	h.bootTime = clampSeconds(req.BootTime)
	now := facts{dialect: in.report.Dialect, arch: req.Arch, runUser: req.RunUser, updater: req.UpdaterVersion, labels: encodeLabels(req.Labels), protocol: min(max(req.Protocol, 0), 1<<15), trust: trustFactsOf(req.Trust)}
	if now.dialect == meta.DialectLegacy {
		now.arch = cmp.Or(now.arch, old.arch)
	}
	moved := oldIP != h.ipText()
	if now == old && !moved && h.facts != zeroFacts {
		return false
	}
	h.facts = unique.Make(now)
	h.set(verifies, now.trust != trustFacts{})
	h.member = nil
	if diff := factsDiff(old, now, oldIP, h.ipText()); diff != "" && !quiet {
		log.addEvent(api.Event{Kind: api.EventHost, Message: diff})
	}
	return true
}

// takeRefusal notes why a host does not believe this server's replies, and reports
// whether that is new.
func (h *host) takeRefusal(r *meta.TrustReport, log *timeline) bool {
	before := h.refusal()
	h.restoreRefusal(r)
	now := h.refusal()
	if now.reason != before.reason {
		e := api.Event{Kind: api.EventHost, Reason: now.reason, Message: "it does not believe this server's replies: " + now.text}
		if now == (refusal{}) {
			e.Message = "it believes this server's replies again"
		}
		log.addEvent(e)
	}
	return now != before
}

func (h *host) restoreRefusal(r *meta.TrustReport) {
	var now refusal
	if r != nil && r.Reason != "" {
		now = refusal{r.Refused, r.Reason, r.Since}
	}
	if now != h.refusal() {
		h.rarePart().refusal = now
	}
}

func (h *host) refusal() refusal {
	if h.rare == nil {
		return refusal{}
	}
	return h.rare.refusal
}

func factsDiff(old, now facts, oldIP, ip string) string {
	pairs := []struct{ what, from, to string }{
		{"address", oldIP, ip},
		{"arch", old.arch, now.arch},
		{"user", old.runUser, now.runUser},
		{"ops-updater", old.updater, now.updater},
		{"labels", labelText(old.labels), labelText(now.labels)},
		{"dialect", string(old.dialect), string(now.dialect)},
		{"trust", old.trust.inWords(), now.trust.inWords()},
	}
	var parts []string
	for _, p := range pairs {
		if p.from != p.to {
			parts = append(parts, p.what+" "+cmp.Or(p.from, "none")+" → "+cmp.Or(p.to, "none"))
		}
	}
	return strings.Join(parts, ", ")
}

func labelText(encoded string) string {
	parts := strings.Split(strings.TrimSuffix(encoded, "\x00"), "\x00")
	var b strings.Builder
	for i := 0; i+1 < len(parts); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(parts[i] + "=" + parts[i+1])
	}
	return b.String()
}

// agentChanges says what kind of things changed in a host's agents.
type agentChanges struct {
	any    bool
	keep   bool // something worth keeping
	claims bool // what it says of what it was told
}

// takeAgents merges the agents a host reports.
func (h *host) takeAgents(reported []meta.RealAgent, log *timeline, quiet bool) agentChanges {
	var c agentChanges
	next := newEntries(reported)
	old := h.agents
	h.agents = next
	for len(old) > 0 || len(next) > 0 {
		switch order := compareHeads(old, next); {
		case order < 0:
			s := old[0].state.Value()
			log.addEvent(api.Event{Kind: api.EventRemoved, Agent: s.Name, From: s.Version})
			old, c = old[1:], agentChanges{true, true, true}
		case order > 0:
			s := next[0].state.Value()
			if !quiet {
				log.addAgent(&s)
			}
			next, c = next[1:], agentChanges{true, true, true}
		default:
			if old[0].state != next[0].state {
				from, to := old[0].state.Value(), next[0].state.Value()
				log.compareAgents(&from, &to)
				c.any = true
				c.claims = c.claims || saysElse(&from, &to)
				c.keep = c.keep || worthKeeping(from, to)
			}
			old, next = old[1:], next[1:]
		}
	}
	return c
}

// worthKeeping leaves out the detail of an unknown status, which may differ
// each time it is asked, and what the host only echoes.
func worthKeeping(from, to agentState) bool {
	from.Status, to.Status = from.statusWord(), to.statusWord()
	from.DesiredVersion, to.DesiredVersion, from.Rollout, to.Rollout = "", "", "", ""
	return from != to
}

func newEntries(reported []meta.RealAgent) []agentEntry {
	if len(reported) == 0 {
		return nil
	}
	entries := make([]agentEntry, 0, len(reported))
	for _, a := range reported {
		entries = append(entries, newAgentEntry(api.Reported(a)))
	}
	slices.SortStableFunc(entries, func(a, b agentEntry) int { return cmp.Compare(a.state.Value().Name, b.state.Value().Name) })
	return slices.CompactFunc(entries, func(a, b agentEntry) bool { return a.state.Value().Name == b.state.Value().Name })
}

// compareHeads orders the first entries by name; a list at its end is last.
func compareHeads(a, b []agentEntry) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Compare(a[0].state.Value().Name, b[0].state.Value().Name)
}

func (t *timeline) addAgent(s *agentState) {
	t.addEvent(api.Event{Kind: api.EventVersion, Agent: s.Name, Rollout: s.Rollout, To: s.Version, Message: s.Status})
	if s.Error != "" {
		t.addEvent(api.Event{Kind: api.EventError, Agent: s.Name, Rollout: s.Rollout, Reason: s.Reason, Message: s.Error})
	}
}

// compareAgents tells what changed of one agent.
func (t *timeline) compareAgents(from, to *agentState) {
	e := api.Event{Agent: to.Name, Rollout: cmp.Or(to.Rollout, from.Rollout)}
	tell := func(kind, a, b, message string) {
		if a != b {
			e.Kind, e.From, e.To, e.Message = kind, a, b, message
			t.addEvent(e)
		}
	}
	tell(api.EventVersion, from.Version, to.Version, "")
	tell(api.EventStatus, from.statusWord(), to.statusWord(), to.Status)
	e.Reason = to.Reason
	tell(api.EventPhase, string(from.Phase), string(to.Phase), to.Error)
	if from.Error != to.Error {
		e.Kind, e.From, e.To, e.Message = api.EventError, "", "", to.Error
		t.addEvent(e)
	}
	e.Reason = ""
	if from.Held != to.Held {
		e.Kind, e.From, e.To, e.Message = api.EventHeld, "", "", to.HoldReason
		if !to.Held {
			e.Message = "released"
		}
		t.addEvent(e)
	}
}

// restoreFrom takes over a stored host.
func (h *host) restoreFrom(s api.Host) {
	h.first, h.seen = toUnix(s.FirstSeen), toUnix(s.LastSeen)
	h.facts = unique.Make(facts{dialect: meta.Dialect(s.Dialect), arch: s.Arch, runUser: s.RunUser, updater: s.UpdaterVersion, labels: encodeLabels(s.Labels), protocol: storedProtocol(s), trust: trustFactsOf(s.Trust)})
	h.set(verifies, s.Trust != nil)
	h.restoreRefusal(s.Trust)
	h.setIP(s.IP)
	h.setBoot(s.BootID)
	h.bootTime = clampSeconds(s.BootTime)
	if s.Pace > 0 {
		h.pace = uint16(min(s.Pace, 1<<16-1))
	}
	h.set(isSilent, s.Silent)
	h.set(isRestored, true)
	h.skeleton, h.reply, h.member = 0, nil, nil
	entries := make([]agentEntry, 0, len(s.Agents))
	for _, a := range s.Agents {
		entries = append(entries, newAgentEntry(a))
	}
	slices.SortFunc(entries, func(a, b agentEntry) int { return cmp.Compare(a.state.Value().Name, b.state.Value().Name) })
	h.agents = entries
}

// storedProtocol is told by phases where it was not stored yet.
func storedProtocol(s api.Host) int {
	if s.Protocol == 0 && slices.ContainsFunc(s.Agents, func(a api.HostAgent) bool { return a.Phase != "" }) {
		return 1
	}
	return s.Protocol
}

// mayBeStuck reports whether an agent is stopped on a host that says nothing
// of phases: only a second report tells whether that is how it stays.
func (h *host) mayBeStuck() bool {
	return slices.ContainsFunc(h.agents, func(e agentEntry) bool {
		s := e.state.Value()
		return s.Phase == "" && (s.statusWord() == meta.StatusStopped || s.statusWord() == "stopped")
	})
}
