package rollouts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/schedule"
)

// planned is a plan with the hosts that it is of.
type planned struct {
	api.SchedulePlan
	hosts []plannedHost
	times func(crowd int) schedule.Times
}

// plannedHost is a host of a plan: one of a crowd of the forecast, or one of which it
// is known already.
type plannedHost struct {
	crowd int // -1: known is what becomes of it
	name  string
	why   string
	known api.PlanHost
}

// planLead is how long ago a plan may begin: pages of one plan are asked for one after
// the other.
const planLead = time.Hour

// nobody has moved a channel that a plan only supposes to point elsewhere.
const nobody = ""

// SchedulePlan says when what would change by a schedule, agent by agent, and writes
// nothing.
func (e *Engine) SchedulePlan(ctx context.Context, q api.PlanQuery) ([]api.SchedulePlan, error) {
	plans := []api.SchedulePlan{}
	err := e.planEach(ctx, q, func(p planned) { plans = append(plans, p.SchedulePlan) })
	return plans, err
}

// SchedulePlanHosts lists the hosts of the plan of one agent, by name.
func (e *Engine) SchedulePlanHosts(ctx context.Context, q api.PlanQuery, c api.Cursor) (api.Page[api.PlanHost], error) {
	page := api.Page[api.PlanHost]{Items: []api.PlanHost{}}
	found := 0
	err := e.planEach(ctx, q, func(p planned) {
		found++
		page.Total = len(p.hosts)
		slices.SortFunc(p.hosts, func(a, b plannedHost) int { return cmp.Compare(a.name, b.name) })
		first, there := slices.BinarySearchFunc(p.hosts, c.After, func(h plannedHost, name string) int { return cmp.Compare(h.name, name) })
		if there {
			first++
		}
		rest := p.hosts[first:]
		for _, h := range rest[:min(len(rest), cmp.Or(c.Limit, api.DefaultPage))] {
			page.Items = append(page.Items, p.hostOf(h))
		}
		if len(page.Items) < len(rest) {
			page.Next = page.Items[len(page.Items)-1].Host
		}
	})
	if err == nil && found != 1 {
		return page, api.InvalidField("agent", "the schedule is of %d agents: say of which one", found)
	}
	return page, err
}

// planEach plans every agent that is asked for. One at a time does: each walks every host.
func (e *Engine) planEach(ctx context.Context, q api.PlanQuery, do func(planned)) error {
	now := time.Now()
	switch {
	case q.From.IsZero():
		q.From = now
	case q.From.Before(now.Add(-planLead)):
		return api.InvalidField("from", "from is in the past")
	case q.From.After(now.Add(api.PlanHorizon)):
		return api.InvalidField("from", "from is more than %d days ahead", int(api.PlanHorizon.Hours()/24))
	}
	done, err := e.oneAtATime(ctx)
	if err != nil {
		return err
	}
	defer done()
	found, err := e.situationsToPlan(ctx, q)
	if err != nil {
		return err
	}
	for _, it := range found {
		p, err := e.planAgent(ctx, it, q)
		if err != nil {
			return err
		}
		do(p)
	}
	return nil
}

// oneAtATime waits until nobody else plans or asks for states, which walks every host;
// done lets the next one.
func (e *Engine) oneAtATime(ctx context.Context) (done func(), err error) {
	select {
	case e.planning <- struct{}{}:
		return func() { <-e.planning }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// situationsToPlan is the situations of the agents that are asked for, with the channel
// at the version that is.
func (e *Engine) situationsToPlan(ctx context.Context, q api.PlanQuery) ([]schedule.Situation, error) {
	in := e.opts.Store.Reader
	s, err := in.Schedule(ctx, q.Schedule)
	if err != nil {
		return nil, err
	}
	moved := func(c *api.Channel) {
		if q.Version != "" && q.Version != c.Version {
			c.Name, c.Previous, c.Version, c.MovedBy = s.Channel, c.Version, q.Version, nobody
			c.Revision++ // which gives the version a turn of its own
		}
	}
	if q.Agent != "" {
		if len(s.Agents) > 0 && !slices.Contains(s.Agents, q.Agent) {
			return nil, &api.Error{
				Kind: api.KindInvalid, Field: "agent", Message: fmt.Sprintf("schedule %s does not follow %s", s.Name, q.Agent),
				Hint: "ops-meta schedule show " + s.Name,
			}
		}
		if _, err := in.Agent(ctx, q.Agent); err != nil {
			return nil, api.Missing(err, "agent")
		}
		s.Agents = []string{q.Agent}
	}
	found, err := e.situationsOf(ctx, in, s, look{channel: moved, deliverable: true})
	if err != nil || q.Version == "" {
		return found, err
	}
	if len(found) != 1 {
		return nil, &api.Error{
			Kind: api.KindInvalid, Field: "agent", Message: fmt.Sprintf("schedule %s is of %d agents, and a version is of one", s.Name, len(found)),
			Hint: "say which with --agent",
		}
	}
	if _, err := in.Release(ctx, found[0].Agent, q.Version); err != nil {
		return nil, api.Missing(err, "version")
	}
	return found, nil
}

func (e *Engine) planAgent(ctx context.Context, it schedule.Situation, q api.PlanQuery) (planned, error) {
	p := planned{SchedulePlan: api.SchedulePlan{
		Schedule: it.Schedule.Name, Agent: it.Agent, Channel: it.Schedule.Channel, Version: it.Channel.Version, Assigned: it.Assigned.Version,
		Scope: it.Schedule.Scope, Strategy: it.Strategy.Name, From: q.From.UTC(),
	}}
	takes, err := e.takesOf(ctx, it, q)
	if err != nil {
		return p, err
	}
	p.Takes = int(takes.Seconds())
	last := q.From.Add(api.PlanHorizon)
	d, at := schedule.Await(it, q.From, last)
	var r api.Rollout
	switch {
	case d.Act == schedule.ActBegin:
		if r, err = e.rolloutToPlan(ctx, it, at); err != nil {
			return p, err
		}
	case d.Reason == schedule.ReasonUnderWay:
		r, p.Rollout = it.Latest, it.Latest.ID
	default:
		p.Reason, p.Message = string(d.Reason), d.Message
		return p, nil
	}
	begins := r.CreatedAt.UTC()
	p.Begins = &begins
	f := schedule.NewForecast(r, takes, at)
	counts, err := e.addHosts(ctx, f, &p, r)
	if err != nil {
		return p, err
	}
	out := f.Run(ctx, last)
	if err := ctx.Err(); err != nil {
		return p, err
	}
	p.times = f.TimesOf
	p.takeOutcome(out, counts)
	if p.Rollout == "" && at.After(q.From) { // the version is chosen when the first window opens
		p.Stages[0].Waits = slices.Insert(p.Stages[0].Waits, 0, api.PlanWait{From: q.From.UTC(), Until: at.UTC()})
	}
	p.Notes = notesOf(it, p.SchedulePlan)
	return p, nil
}

// takesOf is how long each host is assumed to need: it hears of its grant with one
// heartbeat, watches the version for its probation, and says so with another.
func (e *Engine) takesOf(ctx context.Context, it schedule.Situation, q api.PlanQuery) (time.Duration, error) {
	if q.Takes > 0 {
		return time.Duration(q.Takes) * time.Second, nil
	}
	agent, err := e.opts.Store.Agent(ctx, it.Agent)
	if err != nil {
		return 0, err
	}
	takes := 2*e.opts.Fleet.Interval() + time.Duration(cmp.Or(agent.Probation, api.DefaultProbation))*time.Second
	return min(takes, it.Strategy.GrantDeadline()), nil
}

// rolloutToPlan is the rollout as the schedule would begin it.
func (e *Engine) rolloutToPlan(ctx context.Context, it schedule.Situation, at time.Time) (api.Rollout, error) {
	r := api.Rollout{
		ID: "plan", Agent: it.Agent, Scope: it.Schedule.Scope, Version: it.Channel.Version, Strategy: it.Strategy,
		Schedule: it.Schedule.Name, Salt: schedule.Salt(it),
	}
	var err error
	if r.Previous, err = previousVersion(ctx, e.opts.Store.Reader, r); err != nil {
		return r, err
	}
	r, _ = rollout.Create(r, false, at)
	return r, nil
}

// addHosts adds the hosts of the scope as they stand now to a forecast, and counts those
// of whom it is known already what becomes of them.
func (e *Engine) addHosts(ctx context.Context, f *schedule.Forecast, p *planned, r api.Rollout) (map[api.PlanHostState]int, error) {
	within, err := scopeOf(ctx, e.opts.Store.Reader, r.Scope)
	if err != nil {
		return nil, err
	}
	release, err := e.opts.Store.Release(ctx, r.Agent, r.Version)
	if err != nil {
		return nil, err
	}
	rules, refusing := e.opts.Fleet.Snapshot(), e.opts.Fleet.Refusing(release)
	if p.Rollout == "" {
		rules = rules.WithRollout(r, time.Now())
	}
	counts, seen := map[api.PlanHostState]int{}, make(map[string]struct{}, e.opts.Fleet.Hosts())
	known := func(h api.PlanHost) {
		counts[h.State]++
		p.hosts = append(p.hosts, plannedHost{crowd: -1, name: h.Host, known: h})
	}
	inGroups := sharedGroups()
	e.opts.Fleet.EachStandBy(rules, func(s fleet.Stand) {
		if s.Rollout != r.ID {
			return
		}
		seen[s.Host] = struct{}{}
		h := schedule.Host{HeldUntil: s.HeldUntil, Refuses: refusing[s.Host], Host: rollout.Host{
			Name: s.Host, OnTarget: rollout.OnTarget(r, reportOf(s)), Held: s.Barred != "" && !s.NoArtifact, NoArtifact: s.NoArtifact, Silent: s.Silent,
			InGroup: inGroups(s.Groups), Pace: s.Pace,
		}}
		if _, n, granted, _ := e.book.lookUp(r.ID, s.Host); granted && p.Rollout != "" {
			g := n.grantOf(r.ID, s.Host)
			f.AddGranted(h, g)
			known(grantedToPlan(r, g))
			return
		}
		p.hosts = append(p.hosts, plannedHost{crowd: f.Add(h), name: s.Host, why: s.Barred})
	})
	e.opts.Fleet.EachFacts(func(h fleet.Facts) {
		if _, there := seen[h.Name]; !there && within(h) && rules.Overruled(h, r.Agent, r.Scope) {
			known(api.PlanHost{Host: h.Name, State: api.PlanHostOverruled, Message: "a narrower rule names its version: ops-meta explain " + h.Name})
		}
	})
	return counts, ctx.Err()
}

// sharedGroups makes one function for all hosts of the same groups.
func sharedGroups() func([]string) func(string) bool {
	var last []string
	var in func(string) bool
	return func(groups []string) func(string) bool {
		if in == nil || !slices.Equal(groups, last) {
			last = groups
			in = func(g string) bool { return slices.Contains(groups, g) }
		}
		return in
	}
}

// grantedToPlan is what becomes of a host that has its grant.
func grantedToPlan(r api.Rollout, g api.Grant) api.PlanHost {
	h := api.PlanHost{Host: g.Host, State: api.PlanHostChanges, Stage: r.Strategy.StageName(g.Stage), From: &g.Granted, By: &g.Granted}
	switch g.Outcome {
	case api.OutcomeSucceeded:
		h.State = api.PlanHostAlready
	case api.OutcomeFailed:
		h.State, h.Message = api.PlanHostFailed, "it has failed on it: ops-meta rollout hosts "+r.ID+" --state failed"
	}
	return h
}

// takeOutcome takes over what was forecast.
func (p *planned) takeOutcome(out schedule.Outcome, counts map[api.PlanHostState]int) {
	p.Stages, p.Ends, p.Reason, p.Message = out.Stages, out.Ends, out.Reason, out.Message
	for _, h := range p.hosts {
		if h.crowd >= 0 {
			counts[p.times(h.crowd).State]++
		}
	}
	p.Hosts = counts
	if p.Message == "" {
		p.Message = fmt.Sprintf("would begin on %s and be whole on %s", sayTime(*p.Begins), sayTime(*p.Ends))
		if p.Rollout != "" {
			p.Message = fmt.Sprintf("rollout %s is under way and would be whole on %s", p.Rollout, sayTime(*p.Ends))
		}
	}
}

func sayTime(t time.Time) string { return t.UTC().Format("Mon 2006-01-02 15:04 UTC") }

// hostOf is one host as the plan says it.
func (p *planned) hostOf(h plannedHost) api.PlanHost {
	if h.crowd < 0 {
		return h.known
	}
	t := p.times(h.crowd)
	host := api.PlanHost{Host: h.name, State: t.State, From: utc(t.From), By: utc(t.By), Chance: t.Chance, Message: h.why}
	if t.Stage >= 0 {
		host.Stage = p.Stages[t.Stage].Name
	}
	switch t.State {
	case api.PlanHostNotReached:
		host.Message = p.Message
	case api.PlanHostSilent:
		host.Message = "it was not heard of lately, and has the version when it returns"
	case api.PlanHostAlready:
		host.Message = "it runs " + p.Version
	case api.PlanHostRefuses:
		host.Message = "it requires a signature that " + p.Version + " does not have, and fails"
	case api.PlanHostChanges:
		if h.why != "" {
			host.Message += "; until then"
		}
	case api.PlanHostHeld, api.PlanHostNoArtifact, api.PlanHostOverruled, api.PlanHostFailed:
	}
	return host
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// notesOf are what a plan assumes, and what nobody can know beforehand.
func notesOf(it schedule.Situation, p api.SchedulePlan) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if is := it.Channel; is.MovedBy == nobody && (api.Channel{Version: is.Previous}).Downgrade(is.Version) != nil {
		note("%s is older than %s, where the channel points: it goes back only with --downgrade", is.Version, is.Previous)
	}
	note("each host is assumed to have shown within %s that the version works there; one that fails may stop it, and other holds, groups, windows or releases change it", time.Duration(p.Takes)*time.Second)
	if slices.ContainsFunc(it.Strategy.Stages, func(s api.Stage) bool { return s.Count > 0 }) {
		note("which hosts a number takes is decided by who asks first, and with it who is left for the waves after it; hosts of a percent are drawn already")
	}
	if slices.ContainsFunc(p.Stages, func(s api.PlanStage) bool { return s.NotBefore }) {
		note("approvals are taken as given at once: from there on times are the earliest")
	}
	if n := p.Hosts[api.PlanHostRefuses]; n > 0 {
		note("%d hosts require a signature that %s does not have, and fail: sign it first (ops-meta releases sign)", n, p.Version)
	}
	if !it.Strategy.Parallel {
		note("a host in the middle of another agent's rollout waits for its end first, which is not forecast")
	}
	return notes
}
