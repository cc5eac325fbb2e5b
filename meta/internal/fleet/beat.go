package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Beat is a heartbeat as it came in.
type Beat struct {
	Dialect meta.Dialect
	Remote  string // the peer's address without its port
	Body    []byte // decompressed
}

// Report is a heartbeat decoded and within limits.
type Report struct {
	Beat
	Request  *meta.HeartbeatRequest
	Problems []string // what was left out of it, for people
}

// ErrFull is returned for a host that is not known when there are already as
// many as [Options] allow.
var ErrFull = api.Errorf(api.KindUnavailable, "there are as many hosts as this server is set up for")

// Steady answers a heartbeat that repeats the previous one of its host but
// for its timestamps, without decoding it; false means that it does not, and
// must go to [Fleet.Report]. Only a host that waits for a rollout makes it
// look further than memory.
func (f *Fleet) Steady(ctx context.Context, b Beat) (*Reply, bool) {
	name, ok := Hostname(b.Body)
	if !ok {
		return nil, false
	}
	now := time.Now()
	sum, newest := skeletonOf(b)
	sh := f.shardOfBytes(name)
	sh.mu.Lock()
	h := sh.hosts[string(name)]
	if h == nil || h.skeleton != sum || h.has(isSilent) || clockSkewed(newest, now, f.Interval()) != h.has(isSkewed) {
		sh.mu.Unlock()
		return nil, false
	}
	f.noteHeard(sh, h, now)
	d := f.draftReply(h)
	var verified trustFacts
	if h.has(verifies) && b.Dialect != meta.DialectLegacy {
		verified = h.facts.Value().trust
	}
	var stuck api.HostReport
	if !h.has(isRepeated) {
		h.set(isRepeated, true)
		if f.observer != nil && h.mayBeStuck() {
			stuck.Host = h.exportHost()
		}
	}
	sh.mu.Unlock()
	if stuck.Host.Name != "" {
		f.observer.HostChanged(stuck)
	}
	reply, _ := f.decideReply(ctx, h, d)
	if verified == (trustFacts{}) {
		return reply, true
	}
	return reply.onTerms(reply.signer.termsFor(h.name, verified)), true
}

// noteHeard notes when a host was heard. The shard is locked.
func (f *Fleet) noteHeard(sh *shard, h *host, now time.Time) {
	if at := clampSeconds(now.Unix()); h.seen != at || h.pace == 0 {
		h.observePace(at, clampSeconds(f.startedAt.Unix()))
		h.seen = at
	}
	if !h.has(seenQueued) {
		h.set(seenQueued, true)
		sh.seen = append(sh.seen, h)
	}
}

// Report takes in a heartbeat and answers it. A change is waited for until
// the journal has it, but not longer than CommitWait and not at all while the
// journal fails: the host's next report would tell it again.
func (f *Fleet) Report(ctx context.Context, r Report) (*Reply, error) {
	said, doubt := f.markAhead(ctx, r) // before anything is judged by the report
	reply, err := f.answerReport(ctx, r, doubt)
	if err != nil || r.Request.Trust == nil || r.Dialect == meta.DialectLegacy {
		return reply, err
	}
	own := reply.signer.termsFor(r.Request.Hostname, trustFactsOf(r.Request.Trust))
	if own != nil {
		own.serial = max(own.serial, said)
	}
	return reply.onTerms(own), nil
}

func (f *Fleet) answerReport(ctx context.Context, r Report, doubt bool) (*Reply, error) {
	now := time.Now()
	sum, newest := skeletonOf(r.Beat)
	if name, ok := Hostname(r.Body); !ok || string(name) != r.Request.Hostname {
		sum = 0 // it could not be found again by its bytes
	}
	in := intake{report: r, sum: sum, now: now, skewed: clockSkewed(newest, now, f.Interval()), doubt: doubt}
	sh := f.shardOf(r.Request.Hostname)
	sh.mu.Lock()
	h := sh.hosts[r.Request.Hostname]
	if h == nil {
		if f.Hosts() >= f.opts.MaxHosts {
			sh.mu.Unlock()
			return nil, ErrFull
		}
		h = f.addLocked(sh, strings.Clone(r.Request.Hostname))
	}
	in.window = silentAfter * h.paceOf(f.Interval())
	out := f.takeReport(sh, h, in)
	sh.mu.Unlock()
	if out.told.Host.Name != "" {
		f.observer.HostChanged(out.told)
	}
	reply := out.draft.reply
	if reply.doubt {
		return reply, nil // the database has had its time
	}
	if !out.rival {
		var stalled bool
		if reply, stalled = f.decideReply(ctx, h, out.draft); stalled {
			return reply, nil // the database has had its time
		}
	}
	f.awaitSaved(ctx, out.saved, now.Add(f.opts.CommitWait))
	return reply, nil
}

// taken is what became of a report.
type taken struct {
	outcome
	draft draft
	told  api.HostReport
	saved <-chan struct{} // closed when it is durable or cannot be; nil: nothing to wait for
}

// takeReport merges a report and finds its answer. The shard is locked.
func (f *Fleet) takeReport(sh *shard, h *host, in intake) taken {
	boot := bootKey(h)
	t := taken{outcome: h.mergeReport(in)}
	if t.rival {
		t.draft.reply = f.answerRival(h, in)
	} else {
		f.noteHeard(sh, h, in.now)
		if t.answer {
			h.outdateReply()
		}
		if t.claims && f.confirmer != nil {
			h.set(isUnsure, len(f.snapshot.Load().unexplainedClaims(h, f.answerHost(h))) > 0)
		}
		h.set(isDoubted, in.doubt || h.has(isDoubted) && h.has(isUnsure))
		t.draft = f.draftReply(h)
		if in.doubt {
			h.skeleton = 0 // its next report is looked at again
			t.draft = draft{reply: f.answerDoubt(h)}
		}
	}
	if bootKey(h) != boot {
		f.boots.noteHost(h)
	}
	if t.changed {
		t.saved = f.commits.enqueueHost(h, t.events)
	}
	if f.observer != nil && (t.changed || t.differs) {
		t.told = api.HostReport{Host: h.exportHost(), Events: t.events}
	}
	return t
}

// answerRival answers a second host under one name by what it reports, with
// the grants of the first: neither shall run what nobody granted.
func (f *Fleet) answerRival(h *host, in intake) *Reply {
	other := &host{name: h.name, grants: h.grants}
	other.mergeReport(in)
	return f.answerHost(other)
}

// awaitSaved waits for a change to be durable, within bounds.
func (f *Fleet) awaitSaved(ctx context.Context, saved <-chan struct{}, until time.Time) {
	if saved == nil {
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-saved:
	case <-t.C:
	case <-ctx.Done():
	}
}

// askForGrants has the rollouts decide about a waiting host, one after the other until
// one grants, and returns what it is told then.
func (f *Fleet) askForGrants(ctx context.Context, h *host, reply *Reply) *Reply {
	sh := f.shardOf(h.name)
	for _, w := range reply.waits {
		sh.mu.Lock()
		req := api.GrantRequest{Rollout: w.rollout, Host: h.name, Agent: w.agent, Reported: h.reportedVersion(w.agent)}
		if e := h.agentNamed(w.agent); e != nil {
			req.Held = e.state.Value().Held
		}
		sh.mu.Unlock()
		req.Groups = reply.groups
		granted, err := f.granter.Grant(ctx, req)
		if err != nil {
			f.opts.Log.Warn().Err(err).Str("host", req.Host).Str("rollout", req.Rollout).Msg("cannot decide about a grant; the host waits on")
			continue
		}
		if granted {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			f.grantLocked(h, w.rollout)
			return f.answerHost(h)
		}
	}
	return reply
}

// clockSkewed reports whether a host's newest timestamp is too far from now: it
// may be as old as the interval, never from the future.
func clockSkewed(newest int64, now time.Time, interval time.Duration) bool {
	if newest == 0 {
		return false
	}
	off := now.Sub(time.Unix(newest, 0))
	return off < -2*time.Minute || off > max(10*time.Minute, 2*interval)
}

// intake is what a host takes in.
type intake struct {
	report Report
	sum    uint64
	now    time.Time
	skewed bool
	window time.Duration // within which two identities are two hosts
	doubt  bool          // the host was told what this server cannot find out
}

// outcome is what a report did to a host.
type outcome struct {
	events  []api.Event
	changed bool // something worth keeping
	differs bool // something an observer may want to know
	answer  bool // what the answer is made from changed
	claims  bool // what it says of what it was told changed, or is not known to have been said before
	rival   bool // it came from a second host under the name
}

// mergeReport merges a report into the host, unless it is another host's.
func (h *host) mergeReport(in intake) outcome {
	log := &timeline{host: h.name, now: in.now}
	firstSeen := h.first == 0
	if firstSeen {
		h.first = clampSeconds(in.now.Unix())
		log.addEvent(api.Event{Kind: api.EventFirstSeen})
	} else if h.judgeIdentity(in, log) == second {
		return outcome{events: log.events, changed: len(log.events) > 0, rival: true}
	}
	if h.has(isSilent) {
		h.set(isSilent, false)
		if h.rare != nil {
			h.rare.renamed = ""
		}
		log.addEvent(api.Event{Kind: api.EventReturned})
	}
	out := outcome{changed: len(log.events) > 0}
	out.answer = h.takeFacts(in, log, firstSeen)
	agents := h.takeAgents(in.report.Request.RealAgents, log, firstSeen)
	out.answer = out.answer || agents.any
	out.claims = agents.claims || h.has(isRestored)
	h.set(isRestored, false)
	out.differs = agents.any || !h.has(isRepeated) && h.mayBeStuck()
	h.set(isRepeated, !agents.any)
	refuses := h.takeRefusal(in.report.Request.Trust, log)
	problems := h.takeProblems(in)
	out.events = log.events
	out.changed = out.changed || len(log.events) > 0 || agents.keep || problems || refuses
	h.skeleton = in.sum
	return out
}

func (h *host) takeProblems(in intake) bool {
	changed := h.has(isSkewed) != in.skewed
	h.set(isSkewed, in.skewed)
	problems := in.report.Problems
	if h.rare == nil && len(problems) == 0 {
		return changed
	}
	if r := h.rarePart(); !slices.Equal(r.problems, problems) {
		r.problems = slices.Clone(problems)
		changed = true
	}
	return changed
}

// timeline gathers what happened to a host in one report.
type timeline struct {
	host   string
	now    time.Time
	events []api.Event
}

func (t *timeline) addEvent(e api.Event) {
	e.Host, e.Time = t.host, t.now.UTC()
	t.events = append(t.events, e)
}
