package fleet

import (
	"cmp"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// host is what is kept of one machine: about 300 bytes for three agents. What
// many hosts have in common is held once, behind unique handles.
type host struct {
	name     string
	facts    unique.Handle[facts]
	agents   []agentEntry // sorted by name
	reply    *Reply       // for reply.snapshot
	member   *membership  // of groups; nil: not known
	grants   *grantSet    // nil: none
	rare     *rare        // nil: nothing unusual
	skeleton uint64       // of the last merged report; 0: none
	previous uint64       // identity before the present one
	ip       [16]byte
	boot     [16]byte
	first    uint32 // Unix seconds, as the next three
	seen     uint32
	bootTime uint32
	left     uint32 // when the previous identity was last heard
	flags    flags
	pace     uint16 // seconds between heartbeats, as observed; 0: not yet
}

type flags uint16

const (
	hasIP      flags = 1 << iota
	hasBoot          // boot holds a UUID
	isSilent         // told so
	isSkewed         // its clock is off
	seenQueued       // in the shard's list of what to flush
	isUnsure         // it claims what only the database can confirm
	isRepeated       // its last report says of its agents what the one before did
	isRestored       // from the store, and has not reported since
	isDoubted        // the database could not be asked about what it claims: it is told to stay as it is
	verifies         // its facts say what it verifies
)

// rare holds what few hosts have.
type rare struct {
	bootID   string   // when it is not a UUID
	problems []string // of the last report
	conflict *conflict
	renamed  string // what it is called now, or was called before
	refusal  refusal
}

// refusal is why a host does not believe this server's replies; zero when it does.
type refusal struct {
	text, reason string
	since        int64 // Unix seconds
}

// facts is what many hosts share.
type facts struct {
	dialect meta.Dialect
	arch    string
	runUser string
	updater string
	labels  string // k NUL v NUL, sorted by k
	// protocol is the revision of our additions that it speaks; 0: none, so
	// that it cannot be steered.
	protocol int
	trust    trustFacts
}

// agentEntry is one agent of a host.
type agentEntry struct {
	state    unique.Handle[agentState]
	since    uint32  // Unix seconds
	progress float32 // 0 to 1
}

// agentState is one agent as reported, without what differs from heartbeat to
// heartbeat, so that hosts in the same state share it: Since, Progress and
// Wanted are not in it.
type agentState api.HostAgent

func newAgentEntry(a api.HostAgent) agentEntry {
	e := agentEntry{since: clampSeconds(a.Since), progress: float32(a.Progress)}
	a.Since, a.Progress, a.Wanted = 0, 0, ""
	e.state = unique.Make(agentState(a))
	return e
}

// isFailing reports whether an operator should look at it.
func (s *agentState) isFailing() bool {
	return s.Error != "" || s.Phase == meta.PhaseFailed || s.Phase == meta.PhaseRolledBack
}

// statusWord is the status without its detail.
func (s *agentState) statusWord() string { return statusWord(s.Status) }

func statusWord(status string) string {
	word, _, _ := strings.Cut(status, ":")
	return word
}

func (f facts) isSteered() bool { return f.protocol > 0 }

func (h *host) hasGrant(rollout string) bool { return h.grants.has(rollout) }

func (h *host) tookBack(rollout string) bool { return h.grants.tookBack(rollout) }

func (h *host) reportedVersion(agent string) string {
	if e := h.agentNamed(agent); e != nil {
		return e.state.Value().Version
	}
	return ""
}

func (h *host) agentNamed(name string) *agentEntry {
	i, found := slices.BinarySearchFunc(h.agents, name, func(e agentEntry, name string) int {
		return cmp.Compare(e.state.Value().Name, name)
	})
	if !found {
		return nil
	}
	return &h.agents[i]
}

func (h *host) has(f flags) bool { return h.flags&f != 0 }

func (h *host) set(f flags, on bool) {
	h.flags &^= f
	if on {
		h.flags |= f
	}
}

// rarePart returns the host's rare part, making it when there is none.
func (h *host) rarePart() *rare {
	if h.rare == nil {
		h.rare = &rare{}
	}
	return h.rare
}

func (h *host) setIP(text string) {
	addr, err := netip.ParseAddr(text)
	h.set(hasIP, err == nil)
	h.ip = [16]byte{}
	if err == nil {
		h.ip = addr.As16()
	}
}

func (h *host) ipText() string {
	if !h.has(hasIP) {
		return ""
	}
	return netip.AddrFrom16(h.ip).Unmap().String()
}

// setBoot keeps a UUID in 16 bytes and anything else as it is.
func (h *host) setBoot(id string) {
	uuid, ok := parseUUID(id)
	h.boot = uuid
	h.set(hasBoot, ok)
	switch {
	case !ok && id != "":
		h.rarePart().bootID = strings.Clone(id)
	case h.rare != nil:
		h.rare.bootID = ""
	}
}

// parseUUID reads a UUID as the kernel writes it; another spelling would not
// come back the same.
func parseUUID(s string) (uuid [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return uuid, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		var nibble byte
		switch c := s[i]; {
		case c == '-' && (i == 8 || i == 13 || i == 18 || i == 23):
			continue
		case c >= '0' && c <= '9':
			nibble = c - '0'
		case c >= 'a' && c <= 'f':
			nibble = c - 'a' + 10
		default:
			return [16]byte{}, false
		}
		uuid[n/2] |= nibble << (4 * (1 - n%2))
		n++
	}
	return uuid, true
}

func (h *host) bootID() string {
	switch {
	case h.has(hasBoot):
		return bootText(h.boot)
	case h.rare != nil:
		return h.rare.bootID
	}
	return ""
}

func bootText(b [16]byte) string {
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// exportHost is the host for people and for the store.
func (h *host) exportHost() api.Host {
	f := h.facts.Value()
	out := api.Host{
		Name: h.name, IP: h.ipText(), Arch: f.arch, RunUser: f.runUser, UpdaterVersion: f.updater,
		Labels: decodeLabels(f.labels), BootID: h.bootID(), BootTime: int64(h.bootTime), Dialect: string(f.dialect),
		FirstSeen: fromUnix(h.first), LastSeen: fromUnix(h.seen), Silent: h.has(isSilent),
		Protocol: f.protocol, Pace: int(h.pace), Trust: h.exportTrust(f.trust), Problems: h.listProblems(), Agents: make([]api.HostAgent, 0, len(h.agents)),
	}
	for _, e := range h.agents {
		a := e.exportAgent()
		if h.reply != nil {
			if w := h.reply.wantedOf(a.Name); w != nil {
				a.Wanted = w.Version
			}
		}
		out.Agents = append(out.Agents, a)
	}
	out.Missing = h.missingAgents()
	return out
}

func (h *host) exportTrust(t trustFacts) *meta.TrustReport {
	r := t.report()
	if r != nil && h.rare != nil {
		r.Refused, r.Reason, r.Since = h.rare.refusal.text, h.rare.refusal.reason, h.rare.refusal.since
	}
	return r
}

func (e agentEntry) exportAgent() api.HostAgent {
	a := api.HostAgent(e.state.Value())
	a.Since, a.Progress = int64(e.since), float64(e.progress)
	return a
}

// isDrifted reports whether an agent runs another version than it is told to.
func (h *host) isDrifted(s *agentState) bool {
	if h.reply == nil {
		return false
	}
	w := h.reply.wantedOf(s.Name)
	return w != nil && w.Cmd == meta.CmdStart && w.Version != s.Version
}

// missingAgents names the agents that shall run here and are not reported at all.
func (h *host) missingAgents() (names []string) {
	if h.reply == nil {
		return nil
	}
	for i := range h.reply.Wanted {
		if w := &h.reply.Wanted[i]; w.Cmd == meta.CmdStart && h.agentNamed(w.Agent) == nil {
			names = append(names, w.Agent)
		}
	}
	return names
}

func encodeLabels(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k)
		b.WriteByte(0)
		b.WriteString(labels[k])
		b.WriteByte(0)
	}
	return b.String()
}

func decodeLabels(s string) map[string]string {
	if s == "" {
		return nil
	}
	labels := make(map[string]string)
	for s != "" {
		var k, v string
		k, s, _ = strings.Cut(s, "\x00")
		v, s, _ = strings.Cut(s, "\x00")
		labels[k] = v
	}
	return labels
}

func toUnix(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return clampSeconds(t.Unix())
}

func clampSeconds(s int64) uint32 { return uint32(min(max(s, 0), 1<<32-1)) }

func fromUnix(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
