package schedule

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// Await is what is decided once the window opens that is waited for, and when that is:
// until the last moment, whatever else is in the way stays so.
func Await(s Situation, now, last time.Time) (Decision, time.Time) {
	d := Decide(s, now)
	for d.Reason == ReasonOutsideWindow && d.Until != nil && d.Until.After(now) && !d.Until.After(last) {
		now = *d.Until
		d = Decide(s, now)
	}
	return d, now
}

// Host is a host of the scope as a forecast finds it.
type Host struct {
	rollout.Host
	HeldUntil time.Time // when what holds it ends; zero: nobody has said
	Refuses   bool      // it does not take the release, and fails
}

// Forecast is a rollout run ahead of time, by its own policy. It goes from one moment at
// which something can happen to the next, and hosts that stand alike are one crowd:
// who of them asks first is not known beforehand.
type Forecast struct {
	rollout api.Rollout
	takes   time.Duration
	now     time.Time

	crowds  []*crowd
	byKey   map[string]*crowd
	flights []flight // granted and not yet judged, in the order in which they are
	recent  []flight // granted within the period of the rate
	stuck   []stuckGrant
	limited rollout.Reason // what stopped the last round of grants

	outcome Outcome
	gone    []bool // stages that took every host they could
}

// Outcome is what a forecast has found.
type Outcome struct {
	Stages  []api.PlanStage
	Ends    *time.Time // the rollout has completed
	Reason  string     // why it would not by itself; empty: it would
	Message string
}

// crowd is hosts that stand alike.
type crowd struct {
	key       string
	number    int
	host      rollout.Host // one of them
	refuses   bool
	heldUntil time.Time
	left      int    // not granted yet
	takenBy   []bool // by stage: whether it may take them
	home      int    // the first stage whose percent takes them
	from      []time.Time
	own       *time.Time // when they were granted after their hold had ended
}

// able reports whether they have the target when they may.
func (c *crowd) able() bool {
	return !c.host.OnTarget && !c.host.NoArtifact && !c.host.Held && !c.host.Silent
}

// flight is hosts that were granted at once.
type flight struct {
	at    time.Time
	stage int
	hosts int
	fails bool
}

// stuckGrant is a grant to a host that is held since.
type stuckGrant struct {
	host  rollout.Host
	grant api.Grant
}

// maxEvents bounds a forecast, whatever a strategy says: a rate of one host a minute for a
// million of them is within.
const maxEvents = 3_000_000

// NewForecast begins a forecast of r, which is as [rollout.Create] makes it or as it is
// under way, from now on. Each host is assumed to be judged a time after it was
// granted. [Forecast.Add] its hosts, then [Forecast.Run] it.
func NewForecast(r api.Rollout, takes time.Duration, now time.Time) *Forecast {
	f := &Forecast{rollout: r, takes: takes, now: now, byKey: map[string]*crowd{}}
	f.outcome.Stages = make([]api.PlanStage, len(r.Strategy.Stages))
	f.gone = make([]bool, len(r.Strategy.Stages))
	for i, st := range r.Strategy.Stages {
		f.outcome.Stages[i] = api.PlanStage{Name: r.Strategy.StageName(i), Group: st.Group, Approval: st.Approval && r.Approved <= i, Hosts: r.Progress[i].Granted}
	}
	if r.Stage < len(f.outcome.Stages) {
		since := r.StageSince
		f.outcome.Stages[r.Stage].Begins = &since
	}
	return f
}

// Add adds a host without a grant, and returns what [Forecast.TimesOf] takes.
func (f *Forecast) Add(h Host) int {
	key, in, home := f.placesOf(h)
	c := f.byKey[string(key)]
	if c == nil {
		c = &crowd{key: string(key), number: len(f.crowds), host: h.Host, refuses: h.Refuses, takenBy: in, home: home, from: make([]time.Time, len(in))}
		if h.Held {
			c.heldUntil = h.HeldUntil
		}
		f.byKey[c.key] = c
		f.crowds = append(f.crowds, c)
	}
	c.left++
	return c.number
}

// placesOf is which stages may take a host, which is its own, and a key of all that
// tells its crowd from others.
func (f *Forecast) placesOf(h Host) (key []byte, in []bool, home int) {
	stages := f.rollout.Strategy.Stages
	share := rollout.Share(f.rollout.Salt, h.Name)
	in, home = make([]bool, len(stages)), len(stages)-1
	for k := len(stages) - 1; k >= 0; k-- {
		st := stages[k]
		in[k] = (st.Group == "" || h.InGroup != nil && h.InGroup(st.Group)) && (st.Count > 0 || share < st.Percent)
		if in[k] && st.Percent > 0 {
			home = k
		}
	}
	for _, is := range append([]bool{h.OnTarget, h.NoArtifact, h.Held, h.Silent, h.Refuses}, in...) {
		b := byte('0')
		if is {
			b = '1'
		}
		key = append(key, b)
	}
	if h.Held && !h.HeldUntil.IsZero() {
		key = binary.BigEndian.AppendUint64(key, uint64(h.HeldUntil.UnixNano()))
	}
	return key, in, home
}

// AddGranted adds a host that has a grant already.
func (f *Forecast) AddGranted(h Host, g api.Grant) {
	switch {
	case g.Outcome != "":
	case h.Held || h.NoArtifact:
		f.stuck = append(f.stuck, stuckGrant{h.Host, g})
	default:
		at := g.Granted.Add(f.takes)
		if at.Before(f.now) {
			at = f.now
		}
		f.flights = append(f.flights, flight{at: at, stage: g.Stage, hosts: 1, fails: h.Refuses})
	}
	if rate := f.rollout.Strategy.Rate; rate != nil && g.Granted.After(f.now.Add(-time.Duration(rate.Period)*time.Second)) {
		f.recent = append(f.recent, flight{at: g.Granted, hosts: 1})
	}
}

// flyOthers adds what the rollout counts as in flight of hosts that were not added: they are
// out of its scope by now.
func (f *Forecast) flyOthers() {
	for k, p := range f.rollout.Progress {
		n := p.Granted - p.Succeeded - p.Failed
		for _, g := range f.flights {
			if g.stage == k {
				n -= g.hosts
			}
		}
		for _, s := range f.stuck {
			if s.grant.Stage == k {
				n--
			}
		}
		if n > 0 {
			f.flights = append(f.flights, flight{at: f.now.Add(f.takes), stage: k, hosts: n})
		}
	}
}

// Run forecasts until the rollout has ended, or nothing happens by itself any more,
// or a last moment.
func (f *Forecast) Run(last time.Time) Outcome {
	byTime := func(a, b flight) int { return a.at.Compare(b.at) }
	f.flyOthers()
	slices.SortFunc(f.flights, byTime)
	slices.SortFunc(f.recent, byTime)
	// The largest first: which of them a count takes hardly changes what is left.
	order := slices.Clone(f.crowds)
	slices.SortFunc(order, func(a, b *crowd) int { return cmp.Or(cmp.Compare(b.left, a.left), cmp.Compare(a.key, b.key)) })
	f.approve()
	for range maxEvents {
		f.land()
		f.endHolds()
		f.grant(order)
		if f.over() {
			f.lateOnes(last)
			return f.outcome
		}
		if f.tick() {
			continue
		}
		next, ok := f.nextEvent()
		switch {
		case !ok:
			return f.stop("never", f.sayNever())
		case next.After(last):
			return f.stop("too-far", fmt.Sprintf("not whole by %s: stage %s is under way then", last.UTC().Format("2006-01-02"), f.outcome.Stages[f.rollout.Stage].Name))
		}
		f.now = next
	}
	return f.stop("too-far", "too much would happen to forecast it any further than "+f.now.UTC().Format("2006-01-02"))
}

func (f *Forecast) stop(reason, message string) Outcome {
	f.outcome.Reason, f.outcome.Message = reason, message
	return f.outcome
}

// sayNever says why nothing more happens.
func (f *Forecast) sayNever() string {
	r := f.rollout
	return fmt.Sprintf("stage %s never comes to an end: the window of its hosts does not open within eight days", r.Strategy.StageName(r.Stage))
}

// over reports whether the rollout has ended or waits for a person, and notes why.
func (f *Forecast) over() bool { return f.outcome.Ends != nil || f.outcome.Reason != "" }

// land judges the hosts whose time has come.
func (f *Forecast) land() {
	for len(f.flights) > 0 && !f.flights[0].at.After(f.now) {
		g := f.flights[0]
		f.flights = f.flights[1:]
		r := &f.rollout
		r.Progress = slices.Clone(r.Progress)
		if !g.fails {
			r.Progress[g.stage].Succeeded += g.hosts
			continue
		}
		r.Progress[g.stage].Failed += g.hosts
		next, step := rollout.Evaluate(*r, "hosts that require a signature", f.now)
		*r = next
		f.note(step)
	}
}

// endHolds lets hosts go whose hold has ended.
func (f *Forecast) endHolds() {
	for _, c := range f.crowds {
		if c.host.Held && !c.heldUntil.IsZero() && !c.heldUntil.After(f.now) {
			c.host.Held = false
		}
	}
}

// grant lets have the target whoever may.
func (f *Forecast) grant(order []*crowd) {
	f.limited = ""
	if !f.rollout.MayGrant() {
		return
	}
	f.noteChances()
	recent := f.recentHosts()
	for _, c := range order {
		for c.left > 0 && c.able() {
			next, d := rollout.Admit(f.rollout, c.host, recent, f.now)
			if d.Reason == rollout.ReasonRateLimited || d.Reason == rollout.ReasonInFlightLimit {
				f.limited = d.Reason
				return
			}
			if !d.Granted() {
				break // nor is any other of the crowd
			}
			f.rollout = next
			recent++
			f.noteGrant(c, d.Grant)
		}
	}
}

func (f *Forecast) noteGrant(c *crowd, g api.Grant) {
	c.left--
	now := f.now
	if !c.heldUntil.IsZero() {
		c.own = &now
	} else {
		st := &f.outcome.Stages[g.Stage]
		if st.First == nil {
			st.First = &now
		}
		st.Last = &now
	}
	f.outcome.Stages[g.Stage].Hosts++
	f.flights = addFlight(f.flights, flight{at: now.Add(f.takes), stage: g.Stage, hosts: 1, fails: c.refuses})
	if f.rollout.Strategy.Rate != nil {
		f.recent = addFlight(f.recent, flight{at: now, hosts: 1})
	}
}

func addFlight(to []flight, one flight) []flight {
	if n := len(to); n > 0 && to[n-1].at.Equal(one.at) && to[n-1].stage == one.stage && to[n-1].fails == one.fails {
		to[n-1].hosts++
		return to
	}
	return append(to, one)
}

// noteChances notes since when each crowd may be granted by which stage, whoever of
// them asks first: limits are passed over.
func (f *Forecast) noteChances() {
	free := f.rollout
	free.Strategy.MaxInFlight, free.Strategy.Rate = 0, nil
	for _, c := range f.crowds {
		if c.left == 0 || !c.able() {
			continue
		}
		if _, d := rollout.Admit(free, c.host, 0, f.now); d.Granted() && c.from[d.Grant.Stage].IsZero() {
			c.from[d.Grant.Stage] = f.now
		}
	}
}

// recentHosts is how many hosts were granted within the period of the rate.
func (f *Forecast) recentHosts() (n int) {
	rate := f.rollout.Strategy.Rate
	if rate == nil {
		return 0
	}
	after := f.now.Add(-time.Duration(rate.Period) * time.Second)
	for len(f.recent) > 0 && !f.recent[0].at.After(after) {
		f.recent = f.recent[1:]
	}
	for _, g := range f.recent {
		n += g.hosts
	}
	return n
}

// tick has the policy look at the time, and reports whether it made a step.
func (f *Forecast) tick() bool {
	next, step := rollout.Tick(f.rollout, f.census(), f.now)
	f.rollout = next
	f.note(step)
	return step.Changed()
}

func (f *Forecast) census() rollout.Census {
	t := rollout.NewTally(f.rollout)
	for _, c := range f.crowds {
		if c.left > 0 {
			t.WaitingAlike(c.host, c.left)
		}
	}
	for _, s := range f.stuck {
		t.Granted(s.host, s.grant)
	}
	return t.Census()
}

// note takes a step into the outcome.
func (f *Forecast) note(s rollout.Step) {
	if !s.Changed() {
		return
	}
	now, stages := f.now, f.outcome.Stages
	switch s.To {
	case api.RolloutAwaitingApproval:
		f.leaveStage(s.Stage - 1)
		f.approve()
	case api.RolloutCompleted:
		f.leaveStage(s.Stage)
		f.outcome.Ends = &now
	case api.RolloutRunning:
		switch s.Reason {
		case rollout.ReasonWindowClosed:
			wait := api.PlanWait{From: now}
			if until, ok := rollout.NextOpen(f.rollout.Strategy.StageWindow(s.Stage), now); ok {
				wait.Until = until
			}
			stages[s.Stage].Waits = append(stages[s.Stage].Waits, wait)
		case rollout.ReasonStageStarted:
			f.leaveStage(s.Stage - 1)
			stages[s.Stage].Begins, stages[s.Stage].NotBefore = &now, s.Stage > 0 && stages[s.Stage-1].NotBefore
		}
	case api.RolloutPaused, api.RolloutInconclusive, api.RolloutAborted, api.RolloutRollingBack, api.RolloutDraft:
		f.stop(string(s.Reason), fmt.Sprintf("would be %s in stage %s on %s: %s", s.To, stages[s.Stage].Name, now.UTC().Format("2006-01-02 15:04 UTC"), s.Message))
	}
}

// leaveStage notes that a stage is over.
func (f *Forecast) leaveStage(k int) {
	if k < 0 {
		return
	}
	now := f.now
	f.outcome.Stages[k].Ends = &now
	f.gone[k] = !slices.ContainsFunc(f.crowds, func(c *crowd) bool { return c.left > 0 && c.able() && c.takenBy[k] })
}

// approve approves a stage at once: from there on times are the earliest.
func (f *Forecast) approve() {
	if f.rollout.State != api.RolloutAwaitingApproval {
		return
	}
	next, step, err := rollout.Approve(f.rollout, f.now)
	if err != nil {
		f.stop("approval-needed", err.Error())
		return
	}
	f.rollout = next
	now, st := f.now, &f.outcome.Stages[step.Stage]
	st.Begins, st.NotBefore = &now, true
}

// nextEvent is when something can happen next.
func (f *Forecast) nextEvent() (next time.Time, ok bool) {
	at := func(t time.Time) {
		if t.After(f.now) && (!ok || t.Before(next)) {
			next, ok = t, true
		}
	}
	if len(f.flights) > 0 {
		at(f.flights[0].at)
	}
	r := f.rollout
	if r.SettledAt != nil {
		at(r.SettledAt.Add(time.Duration(r.Strategy.Stages[r.Stage].Soak) * time.Second))
	}
	if f.limited == rollout.ReasonRateLimited && len(f.recent) > 0 {
		at(f.recent[0].at.Add(time.Duration(r.Strategy.Rate.Period) * time.Second))
	}
	for _, c := range f.crowds {
		switch {
		case c.left == 0:
		case c.host.Held && !c.heldUntil.IsZero():
			at(c.heldUntil)
		case c.able() && f.limited == "":
			f.windowsOf(c, at)
		}
	}
	return next, ok
}

// windowsOf calls at with when the windows open that keep hosts from being granted now.
func (f *Forecast) windowsOf(c *crowd, at func(time.Time)) {
	for k := range f.rollout.Stage + 1 {
		w := f.rollout.Strategy.StageWindow(k)
		if !c.takenBy[k] || rollout.Open(w, f.now) {
			continue
		}
		if opens, ok := rollout.NextOpen(w, f.now); ok {
			at(opens)
		}
	}
}

// lateOnes are the hosts that the rollout did not reach although it has completed: the
// assignment gives them the version as soon as nothing holds them.
func (f *Forecast) lateOnes(last time.Time) {
	if f.outcome.Ends == nil {
		return
	}
	for _, c := range f.crowds {
		switch {
		case c.left == 0 || c.host.OnTarget || c.host.NoArtifact || c.host.Silent:
		case !c.host.Held:
			c.own = f.outcome.Ends
		case !c.heldUntil.IsZero() && !c.heldUntil.After(last):
			until := c.heldUntil
			c.own, c.host.Held = &until, false
		}
	}
}

// Times are when hosts of a crowd change.
type Times struct {
	State    api.PlanHostState
	Stage    int        // that surely takes it; -1: none
	From, By *time.Time // between which it may have the version; nil: not reached
	Chance   *api.PlanChance
}

// TimesOf is when a host changes that was added as that number, after [Forecast.Run].
func (f *Forecast) TimesOf(crowd int) Times {
	c := f.crowds[crowd]
	t := Times{State: f.stateOf(c), Stage: -1}
	if t.State != api.PlanHostChanges && t.State != api.PlanHostNotReached && t.State != api.PlanHostRefuses {
		return t
	}
	t.Stage = c.home
	if c.own != nil {
		t.From, t.By = c.own, c.own
		return t
	}
	for k := range c.home {
		if !c.takenBy[k] || f.rollout.Strategy.Stages[k].Count == 0 || c.from[k].IsZero() {
			continue
		}
		if f.gone[k] { // it takes all that it can
			t.Stage = k
			break
		}
		if t.Chance == nil {
			t.Chance = &api.PlanChance{Stage: f.outcome.Stages[k].Name, From: c.from[k]}
		}
	}
	st := f.outcome.Stages[t.Stage]
	t.From, t.By = cmp.Or(timeOf(c.from[t.Stage]), st.First), st.Last
	if t.State == api.PlanHostNotReached {
		t.By = nil
	}
	return t
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (f *Forecast) stateOf(c *crowd) api.PlanHostState {
	switch {
	case c.host.OnTarget:
		return api.PlanHostAlready
	case c.host.NoArtifact:
		return api.PlanHostNoArtifact
	case c.host.Held:
		return api.PlanHostHeld
	case c.host.Silent:
		return api.PlanHostSilent
	case c.refuses:
		return api.PlanHostRefuses
	case f.outcome.Ends == nil && c.left > 0:
		return api.PlanHostNotReached
	}
	return api.PlanHostChanges
}
