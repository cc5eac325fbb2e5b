package fleet

import "time"

// Reported is what one host last said of one agent.
type Reported struct {
	Host    string
	Heard   time.Time
	Known   bool // the host reports this agent; else the rest is empty
	Version string
	Status  string
}

// EachReported calls do for every host that reports any agent, by name, until
// it returns false. No lock is held meanwhile.
func (f *Fleet) EachReported(agent string, do func(Reported) bool) {
	for _, name := range f.sortedNames() {
		if r, any := f.reportedOf(name, agent); any && !do(r) {
			return
		}
	}
}

// reportedOf is a host's last word on an agent, and whether it reports any.
func (f *Fleet) reportedOf(name, agent string) (r Reported, any bool) {
	sh := f.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[name]
	if h == nil || len(h.agents) == 0 {
		return Reported{}, false
	}
	r = Reported{Host: name, Heard: fromUnix(h.seen)}
	if e := h.agentNamed(agent); e != nil {
		s := e.state.Value()
		r.Known, r.Version, r.Status = true, s.Version, s.Status
	}
	return r, true
}
