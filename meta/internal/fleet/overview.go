package fleet

import (
	"cmp"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/ops-updater/ops-updater/meta/api"
)

// overviewCache keeps the last overview while a new one would be dear.
type overviewCache struct {
	mu   sync.Mutex
	last api.Overview
	took time.Duration
}

// tally counts hosts per distinct state, of which there are few.
type tally struct {
	overview api.Overview
	facts    map[unique.Handle[facts]]int
	states   map[unique.Handle[agentState]]counts
	missing  map[string]int // hosts on which an agent shall run and is not reported, by its name
}

type counts struct{ hosts, drifted int }

// Overview counts the fleet. With very many hosts it may be a moment old.
func (f *Fleet) Overview() api.Overview {
	c := &f.overview
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.At.IsZero() && !indexStale(c.last.At, c.took) {
		return c.last
	}
	start := time.Now()
	t := tally{facts: make(map[unique.Handle[facts]]int), states: make(map[unique.Handle[agentState]]counts), missing: make(map[string]int)}
	for i := range f.shards {
		t.countShard(&f.shards[i])
	}
	c.last, c.took = t.overviewOf(), time.Since(start)
	c.last.At = time.Now().UTC()
	return c.last
}

func (t *tally) countShard(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range sh.hosts {
		t.countHost(h)
	}
}

func (t *tally) countHost(h *host) {
	o := &t.overview
	o.Hosts++
	o.Silent += countOf(h.has(isSilent))
	o.Refusing += countOf(h.refusal().reason != "")
	if h.has(isSkewed) || h.has(isDoubted) || h.rare != nil {
		o.Problems += countOf(len(h.listProblems()) > 0)
	}
	t.facts[h.facts]++
	failing, drifted := false, false
	for _, e := range h.agents {
		s := e.state.Value()
		c := t.states[e.state]
		c.hosts++
		off := h.isDrifted(&s)
		c.drifted += countOf(off)
		t.states[e.state] = c
		failing, drifted = failing || s.isFailing(), drifted || off
	}
	for _, name := range h.missingAgents() {
		t.missing[name]++
		drifted = true
	}
	o.Failing += countOf(failing)
	o.Drifted += countOf(drifted)
	o.InOrder += countOf(!failing && !drifted && !h.has(isSilent))
}

func (t *tally) overviewOf() api.Overview {
	o := t.overview
	o.Arches, o.Dialects, o.Agents = make(map[string]int), make(map[string]int), []api.AgentOverview{}
	o.Trust = make(map[string]int)
	for handle, n := range t.facts {
		o.Trust[string(handle.Value().trust.strictest())] += n
		o.Arches[cmp.Or(handle.Value().arch, "unknown")] += n
		o.Dialects[string(handle.Value().dialect)] += n
	}
	byName := make(map[string]*api.AgentOverview)
	of := func(name string) *api.AgentOverview {
		if byName[name] == nil {
			byName[name] = &api.AgentOverview{Name: name, Versions: make(map[string]int), Statuses: make(map[string]int), Phases: make(map[string]int)}
		}
		return byName[name]
	}
	for name, hosts := range t.missing {
		of(name).Drifted += hosts
	}
	for handle, c := range t.states {
		s := handle.Value()
		a := of(s.Name)
		a.Hosts += c.hosts
		a.Drifted += c.drifted
		a.Failing += c.hosts * countOf(s.isFailing())
		a.Versions[cmp.Or(s.Version, "none")] += c.hosts
		a.Statuses[s.statusWord()] += c.hosts
		a.Phases[cmp.Or(string(s.Phase), "none")] += c.hosts
	}
	for _, a := range byName {
		o.Agents = append(o.Agents, *a)
	}
	slices.SortFunc(o.Agents, func(a, b api.AgentOverview) int { return cmp.Compare(a.Name, b.Name) })
	return o
}

func countOf(b bool) int {
	if b {
		return 1
	}
	return 0
}
