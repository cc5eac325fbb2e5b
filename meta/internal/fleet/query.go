package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// cheap is what may be computed for every question; dearer results are
	// kept for idleFactor times as long as they took.
	cheap      = 5 * time.Millisecond
	idleFactor = 20
)

// Host returns one host, as reported and with what it is told now.
func (f *Fleet) Host(name string) (api.Host, bool) {
	sh := f.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[name]
	if h == nil {
		return api.Host{}, false
	}
	f.answerHost(h)
	return h.exportHost(), true
}

// List returns a page of the hosts that a query picks, by name, and how many
// there are in all.
func (f *Fleet) List(q api.HostQuery) (api.Page[api.Host], error) {
	match, err := f.matcherOf(q)
	if err != nil {
		return api.Page[api.Host]{}, err
	}
	return f.pageOf(match, api.Cursor{After: q.After, Limit: q.Limit}), nil
}

// Match returns a page of the hosts that a selector picks, by name, and how
// many there are in all. It gives up when the context ends: a selector that somebody typed
// may be slow on every host.
func (f *Fleet) Match(ctx context.Context, sel *Selector, c api.Cursor) (api.Page[api.Host], error) {
	page := f.pageOf(func(h *host) bool { return ctx.Err() == nil && sel.Match(f.factsOf(h)) }, c)
	return page, ctx.Err()
}

func (f *Fleet) pageOf(match func(*host) bool, c api.Cursor) api.Page[api.Host] {
	limit := min(cmp.Or(max(c.Limit, 0), defaultPage), maxPage)
	page := api.Page[api.Host]{Items: []api.Host{}}
	for _, name := range f.sortedNames() {
		sh := f.shardOf(name)
		sh.mu.Lock()
		if h := sh.hosts[name]; h != nil && match(h) {
			page.Total++
			switch {
			case name <= c.After:
			case len(page.Items) < limit:
				f.answerHost(h)
				page.Items = append(page.Items, h.exportHost())
			case page.Next == "":
				page.Next = page.Items[limit-1].Name
			}
		}
		sh.mu.Unlock()
	}
	return page
}

// EachHost calls do for every host by name until it returns false. No lock is
// held meanwhile, so do may ask the fleet.
func (f *Fleet) EachHost(do func(api.Host) bool) {
	for _, name := range f.sortedNames() {
		if h, ok := f.Host(name); ok && !do(h) {
			return
		}
	}
}

// EachAgent calls do for every host by name, with one of its agents as it was
// reported and what it is told now; without a Name when the host reports none
// of it. No lock is held meanwhile.
func (f *Fleet) EachAgent(agent string, do func(Facts, api.HostAgent)) {
	for _, name := range f.sortedNames() {
		sh := f.shardOf(name)
		sh.mu.Lock()
		h := sh.hosts[name]
		if h == nil {
			sh.mu.Unlock()
			continue
		}
		facts, on := f.factsOf(h), api.HostAgent{}
		if e := h.agentNamed(agent); e != nil {
			on = e.exportAgent()
			if w := f.answerHost(h).wantedOf(agent); w != nil {
				on.Wanted = w.Version
			}
		}
		sh.mu.Unlock()
		do(facts, on)
	}
}

// CountScope is how many known hosts a scope has.
func (f *Fleet) CountScope(s api.Scope) int {
	switch s.Kind {
	case api.ScopeHost:
		return 1
	case api.ScopeGroup:
		if sel := f.snapshot.Load().selectorOf(s.Name); sel != nil {
			return f.countMatching(sel)
		}
		return 0
	case api.ScopeEveryone, api.ScopeAgent:
	}
	return f.Hosts()
}

// HasMember reports whether a host is in a group, by what it last reported; one
// never heard of by its name alone.
func (f *Fleet) HasMember(host, group string) bool {
	sel := f.snapshot.Load().selectorOf(group)
	if sel == nil {
		return false
	}
	sh := f.shardOf(host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h := sh.hosts[host]; h != nil {
		return sel.Match(f.factsOf(h))
	}
	return sel.Match(Facts{Name: host})
}

// countMatching is how many known hosts a selector picks.
func (f *Fleet) countMatching(sel *Selector) int {
	n := 0
	for _, name := range f.sortedNames() {
		sh := f.shardOf(name)
		sh.mu.Lock()
		if h := sh.hosts[name]; h != nil && sel.Match(f.factsOf(h)) {
			n++
		}
		sh.mu.Unlock()
	}
	return n
}

// matcherOf turns a query into a function of a host whose shard is locked.
func (f *Fleet) matcherOf(q api.HostQuery) (func(*host) bool, error) {
	var group *Selector
	if q.Group != "" {
		if group = f.snapshot.Load().selectorOf(q.Group); group == nil {
			return nil, api.Unknown("group", q.Group, f.snapshot.Load().groupNames())
		}
	}
	search := strings.ToLower(q.Search)
	labels, err := CompileSelector(api.Selector{Labels: q.Labels})
	if err != nil {
		return nil, err
	}
	return func(h *host) bool {
		return (!q.Silent || h.has(isSilent)) &&
			(q.Arch == "" || h.facts.Value().arch == q.Arch) &&
			(search == "" || h.matchesSearch(search)) &&
			(!wantsAgent(q) || slices.ContainsFunc(h.agents, func(e agentEntry) bool { return h.matchAgent(e, q) }) || h.matchMissing(q)) &&
			(!q.Problem || len(h.listProblems()) > 0) &&
			(!q.InOrder || h.inOrder()) &&
			(q.Trust == "" || h.matchTrust(q.Trust)) &&
			(len(q.Labels) == 0 || labels.Match(f.factsOf(h))) &&
			(group == nil || group.Match(f.factsOf(h)))
	}, nil
}

func wantsAgent(q api.HostQuery) bool {
	return q.Agent != "" || q.Version != "" || q.Status != "" || q.Phase != "" || q.Failing || q.Drifted
}

// matchAgent asks that one and the same agent satisfies all of the query.
func (h *host) matchAgent(e agentEntry, q api.HostQuery) bool {
	s := e.state.Value()
	return (q.Agent == "" || s.Name == q.Agent) &&
		(q.Version == "" || s.Version == q.Version) &&
		(q.Status == "" || s.statusWord() == q.Status) &&
		(q.Phase == "" || string(s.Phase) == q.Phase) &&
		(!q.Failing || s.isFailing()) &&
		(!q.Drifted || h.isDrifted(&s))
}

// inOrder: it is heard of, and nothing of it fails or is other than wanted.
func (h *host) inOrder() bool {
	amiss := func(e agentEntry) bool {
		s := e.state.Value()
		return s.isFailing() || h.isDrifted(&s)
	}
	return !h.has(isSilent) && !slices.ContainsFunc(h.agents, amiss) && len(h.missingAgents()) == 0
}

// matchMissing: an agent that is not there at all is not as wanted either.
func (h *host) matchMissing(q api.HostQuery) bool {
	if !q.Drifted || q.Version != "" || q.Status != "" || q.Phase != "" || q.Failing {
		return false
	}
	names := h.missingAgents()
	return len(names) > 0 && (q.Agent == "" || slices.Contains(names, q.Agent))
}

// matchTrust: how strictly a host verifies, or that it refuses what this server says.
func (h *host) matchTrust(want string) bool {
	if want == api.TrustRefusing {
		return h.refusal().reason != ""
	}
	return string(h.facts.Value().trust.strictest()) == want
}

func (h *host) matchesSearch(search string) bool {
	if strings.Contains(strings.ToLower(h.name), search) || strings.Contains(h.ipText(), search) {
		return true
	}
	labels := h.facts.Value().labels
	return labels != "" && strings.Contains(strings.ToLower(labels), search)
}

func (s *Snapshot) groupNames() (names []string) {
	for _, m := range s.matchers {
		names = append(names, m.group.Name)
	}
	return names
}

func (s *Snapshot) selectorOf(group string) *Selector {
	for _, m := range s.matchers {
		if m.group.Name == group {
			return m.selector
		}
	}
	return nil
}

// index is the hosts' names in order.
type index struct {
	mu      sync.Mutex
	names   []string
	version int64
	built   time.Time
	took    time.Duration
}

// sortedNames returns the hosts' names in order. With very many hosts, one that was
// first heard a moment ago may be missing.
func (f *Fleet) sortedNames() []string {
	x := &f.index
	x.mu.Lock()
	defer x.mu.Unlock()
	version := f.version.Load()
	if x.version == version || !indexStale(x.built, x.took) {
		return x.names
	}
	start := time.Now()
	names := make([]string, 0, f.Hosts())
	for i := range f.shards {
		sh := &f.shards[i]
		sh.mu.Lock()
		for name := range sh.hosts {
			names = append(names, name)
		}
		sh.mu.Unlock()
	}
	slices.Sort(names)
	x.names, x.version, x.built, x.took = names, version, time.Now(), time.Since(start)
	return names
}

// indexStale reports whether what took so long to compute may be computed again.
func indexStale(built time.Time, took time.Duration) bool {
	return took < cheap || time.Since(built) > idleFactor*took
}
