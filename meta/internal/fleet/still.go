package fleet

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// While the fleet stands still, or a host is in doubt, what is wanted may be
// older than what hosts run. So an answer is made from the report alone: each
// agent is told the version that it reports, where and as whom it reports to
// run, or asked for a report only when that release is not known or the agent
// is stopped. Nothing is told of an agent that a host does not report.

// standsStill reports whether the fleet stands still.
func (s *Snapshot) standsStill() bool { return s.cfg.Standstill != nil }

// AfterStandstill is what is wanted as it will be told once the fleet no
// longer stands still.
func (s *Snapshot) AfterStandstill(now time.Time) *Snapshot {
	cfg := s.cfg
	cfg.Standstill = nil
	return Compile(cfg, now)
}

// answerStill is what a host is told that shall stay as it is.
func (p *profile) answerStill(q question) *Reply {
	var buf [256]byte
	key := append(buf[:0], "still\x00"...)
	key = strconv.AppendBool(key, q.doubt)
	h := q.host
	for _, e := range h.agents {
		key = appendStill(key, e.state.Value(), q.isToRun(e.state.Value()))
	}
	if p.target.fillsPlaces {
		key = append(key, h.facts.Value().runUser...)
	}
	p.mu.RLock()
	r := p.answers[string(key)]
	p.mu.RUnlock()
	if r != nil {
		return r
	}
	r = p.buildStill(q)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) < maxAnswers {
		p.answers[string(key)] = r
	}
	return r
}

func appendStill(key []byte, a agentState, runs bool) []byte {
	for _, part := range []string{a.Name, a.Version, a.RunUser, a.WorkDir} {
		key = append(append(key, part...), 0)
	}
	for _, is := range []bool{runs, a.Orphaned, isMidway(a.Phase)} {
		key = strconv.AppendBool(key, is)
	}
	return append(key, 0)
}

func (p *profile) buildStill(q question) *Reply {
	h := q.host
	r := &Reply{compiled: p.snapshot.number, groups: p.groups, Wanted: []Wanted{}, doubt: q.doubt}
	desired := []meta.DesiredAgent{}
	for _, e := range h.agents {
		a := e.state.Value()
		if a.Orphaned {
			continue
		}
		o := p.stillOffer(a, q.isToRun(a))
		if p.target.fillsPlaces {
			o = *o.withPlace(h)
		}
		desired = append(desired, o.desired)
		r.Wanted = append(r.Wanted, Wanted{Agent: a.Name, Version: o.desired.Version, Cmd: o.desired.Cmd, Problem: o.problem, Held: true})
	}
	r.encodeBody(p, desired)
	return r
}

// stillOffer keeps an agent as it is reported.
func (p *profile) stillOffer(a agentState, runs bool) offer {
	o := reportOnly(a.Name)
	s := p.snapshot
	i := slices.IndexFunc(p.plans, func(pl plan) bool { return pl.agent == a.Name })
	if i >= 0 && runs && a.Version != "" && s.releases[releaseKey{a.Name, a.Version}] != nil {
		src := s.sourceOf(a.Name, a.Version)
		src.agent.ConfigFileName, src.agent.ConfigRemoteURL = "", "" // placing one would restart the agent
		o = src.offerFor(p.target)
	}
	if isMidway(a.Phase) {
		o.desired.Cmd = meta.CmdNone
	}
	o.desired.RunUser = cmp.Or(a.RunUser, o.desired.RunUser)
	o.desired.WorkDir = cmp.Or(a.WorkDir, o.desired.WorkDir)
	return o
}

// isToRun reports whether an agent is meant to run: it does not say that it is
// stopped, or it was told to start just before, so that it has crashed. In
// doubt, another server may have told it to stop since.
func (q question) isToRun(a agentState) bool {
	if !isStopped(a.statusWord()) {
		return true
	}
	if q.doubt || q.host.reply == nil {
		return false
	}
	w := q.host.reply.wantedOf(a.Name)
	return w != nil && w.Cmd == meta.CmdStart
}

func isStopped(word string) bool { return word == meta.StatusStopped || word == "stopped" }

// outdateReply has a host's next answer made again, but keeps what it was told.
func (h *host) outdateReply() {
	if h.reply != nil {
		old := *h.reply
		old.compiled = 0 // no snapshot's
		h.reply = &old
	}
}

// Told is what a host would be told of an agent.
type Told struct {
	Host  string
	Seen  time.Time
	Agent api.HostAgent // as it reports it; without a Status when it does not
	Wanted
}

// EachTold calls do for everything that a snapshot, which need not be the one
// in use, would tell every host. No lock is held meanwhile.
func (f *Fleet) EachTold(snap *Snapshot, do func(Told)) {
	var told []Told
	for i := range f.shards {
		sh := &f.shards[i]
		told = told[:0]
		sh.mu.Lock()
		for _, h := range sh.hosts {
			if h.facts == zeroFacts {
				continue
			}
			for _, w := range snap.profileByFacts(f.factsOf(h), h.facts.Value().targetOf()).answerQuestion(question{host: h}).Wanted {
				t := Told{Host: h.name, Seen: fromUnix(h.seen), Agent: api.HostAgent{Name: w.Agent}, Wanted: w}
				if e := h.agentNamed(w.Agent); e != nil {
					t.Agent = e.exportAgent()
				}
				told = append(told, t)
			}
		}
		sh.mu.Unlock()
		for _, t := range told {
			do(t)
		}
	}
}

// HeardSince counts the hosts, and those of them that have reported since.
func (f *Fleet) HeardSince(t time.Time) (all, heard int) {
	f.eachLocked(func(h *host) {
		all++
		if !fromUnix(h.seen).Before(t.Truncate(time.Second)) {
			heard++
		}
	})
	return all, heard
}
