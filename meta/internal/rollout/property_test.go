package rollout_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// world is a random fleet under a random rollout, with replicas that look at
// copies of the rollout which may be stale. What it remembers of grants and
// failures is kept apart from what the rollout counts.
type world struct {
	t        *rapid.T
	now      time.Time
	r        api.Rollout
	replicas []api.Rollout
	hosts    []*member
	closed   bool // a failure closed the gate, and no operator has opened it
}

type member struct {
	rollout.Host
	groups []string
	grant  *api.Grant
	excuse bool // its failure was forgiven
}

func drawStrategy(t *rapid.T) api.Strategy {
	s := api.Strategy{
		Name: "random", OnFailure: rapid.SampledFrom([]string{"", "pause", "abort", "rollback"}).Draw(t, "onFailure"),
		MaxFailed: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "maxFailed"), MaxFailedPct: rapid.SampledFrom([]float64{0, 0, 10, 50}).Draw(t, "maxFailedPct"),
		MinSample: rapid.SampledFrom([]int{0, 3, 20}).Draw(t, "minSample"), MaxInFlight: rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(t, "maxInFlight"),
		Deadline: 600, Parallel: rapid.Bool().Draw(t, "parallel"),
	}
	if rapid.Bool().Draw(t, "rated") {
		s.Rate = &api.RateLimit{Hosts: rapid.IntRange(1, 4).Draw(t, "rate"), Period: 300}
	}
	count, percent := map[string]int{}, map[string]float64{}
	for range rapid.IntRange(0, 4).Draw(t, "stages") {
		st := api.Stage{
			Group:    rapid.SampledFrom([]string{"", "", "lab"}).Draw(t, "group"),
			Approval: rapid.IntRange(0, 4).Draw(t, "approval") == 0, Soak: rapid.SampledFrom([]int{0, 0, 120}).Draw(t, "soak"),
		}
		if percent[st.Group] == 0 && rapid.Bool().Draw(t, "counted") {
			count[st.Group] += rapid.IntRange(1, 5).Draw(t, "count")
			st.Count = count[st.Group]
		} else {
			percent[st.Group] += rapid.Float64Range(1, 24).Draw(t, "percent")
			st.Percent = percent[st.Group]
		}
		if rapid.IntRange(0, 5).Draw(t, "windowed") == 0 {
			st.Window = &api.Window{From: "10:00", To: "16:00"}
		}
		s.Stages = append(s.Stages, st)
	}
	s.Stages = append(s.Stages, api.Stage{Percent: 100})
	return s
}

func drawWorld(t *rapid.T) *world {
	s := drawStrategy(t)
	if err := s.Validate(); err != nil {
		t.Fatalf("strategy %+v: %v", s, err)
	}
	w := &world{t: t, now: t0, replicas: make([]api.Rollout, 3)}
	for i := range rapid.IntRange(0, 30).Draw(t, "hosts") {
		w.join(fmt.Sprintf("h%d", i))
	}
	r := api.Rollout{
		ID: "r", Agent: "a", Version: "2", Salt: rapid.StringN(1, 8, 8).Draw(t, "salt"), Strategy: s,
		Previous: rapid.SampledFrom([]string{"", "1"}).Draw(t, "previous"),
	}
	w.take(rollout.Create(r, rapid.Bool().Draw(t, "draft"), w.now))
	for i := range w.replicas {
		w.replicas[i] = w.r
	}
	return w
}

func (w *world) join(name string) {
	m := &member{Host: rollout.Host{
		Name: name, OnTarget: rapid.IntRange(0, 9).Draw(w.t, "onTarget") == 0,
		Held: rapid.IntRange(0, 9).Draw(w.t, "held") == 0, Silent: rapid.IntRange(0, 9).Draw(w.t, "silent") == 0,
		Busy: rapid.IntRange(0, 9).Draw(w.t, "busy") == 0,
	}}
	if rapid.Bool().Draw(w.t, "lab") {
		m.groups = []string{"lab"}
	}
	m.InGroup = func(g string) bool { return slices.Contains(m.groups, g) }
	w.hosts = append(w.hosts, m)
}

// take accepts a transition, which must say what it does and why. Only
// transitions change the state.
func (w *world) take(next api.Rollout, s rollout.Step) {
	w.t.Helper()
	if !s.Changed() {
		if next.State != w.r.State || next.Stage != w.r.Stage {
			w.t.Fatalf("from %s to %s without a reason", w.r.State, next.State)
		}
		w.r = next
		return
	}
	if w.r.State != "" && s.From != w.r.State || s.To != next.State || s.Stage != next.Stage || s.Message == "" || next.Reason != string(s.Reason) {
		w.t.Fatalf("step %+v does not tell what happened between %s and %s (%s)", s, w.r.State, next.State, next.Reason)
	}
	if rollout.Ended(w.r.State) && !rollout.Ended(s.To) {
		w.t.Fatalf("an ended rollout came back: %+v", s)
	}
	switch s.Reason {
	case rollout.ReasonTooManyFailures, rollout.ReasonFailureRate, rollout.ReasonStageFailed:
		w.closed = true
	case rollout.ReasonCompleted:
		w.checkCompleted()
	}
	w.r = next
}

func (w *world) checkCompleted() {
	for _, m := range w.hosts {
		if m.grant == nil && !m.Held && !m.Silent && !m.OnTarget && w.r.SettledAt == nil {
			w.t.Fatalf("it completed and %s was never granted", m.Name)
		}
	}
	if w.closed {
		w.t.Fatal("it completed through a closed gate")
	}
}

func (w *world) draw() *member {
	if len(w.hosts) == 0 {
		return nil
	}
	return w.hosts[rapid.IntRange(0, len(w.hosts)-1).Draw(w.t, "host")]
}

// ask is a heartbeat at one of the replicas: a look at its own copy first,
// then the decision on the stored rollout.
func (w *world) ask(m *member, replica int) {
	if m.grant != nil {
		return
	}
	if _, d := rollout.Admit(w.replicas[replica], m.Host, 0, w.now); !d.Granted() {
		if d.Reason == "" || d.Message == "" {
			w.t.Fatalf("refused without a reason: %+v", d)
		}
		w.replicas[replica] = w.r
		return
	}
	next, d := rollout.Admit(w.r, m.Host, w.recent(), w.now)
	w.replicas[replica] = next
	if !d.Granted() {
		return
	}
	w.r = next
	m.grant = &d.Grant
	w.checkGrant(m)
}

func (w *world) recent() int {
	n := 0
	if rate := w.r.Strategy.Rate; rate != nil {
		for _, m := range w.hosts {
			if m.grant != nil && m.grant.Granted.After(w.now.Add(-time.Duration(rate.Period)*time.Second)) {
				n++
			}
		}
	}
	return n
}

func (w *world) checkGrant(m *member) {
	s, k := w.r.Strategy, m.grant.Stage
	st := s.Stages[k]
	switch {
	case w.closed:
		w.t.Fatalf("%s was granted through a closed gate", m.Name)
	case w.r.State != api.RolloutRunning || k > w.r.Stage:
		w.t.Fatalf("%s was granted by stage %d in stage %d, %s", m.Name, k, w.r.Stage, w.r.State)
	case m.Held || m.OnTarget || m.Busy && !s.Parallel:
		w.t.Fatalf("%+v was granted", m.Host)
	case st.Percent > 0 && rollout.Share(w.r.Salt, m.Name) >= st.Percent:
		w.t.Fatalf("%s does not belong to %g %%", m.Name, st.Percent)
	case !m.InGroup(st.Group) && st.Group != "":
		w.t.Fatalf("%s is not in %s", m.Name, st.Group)
	case !rollout.Open(s.StageWindow(k), w.now):
		w.t.Fatalf("%s was granted at %s, outside its window", m.Name, w.now)
	}
	w.checkLimits()
}

// checkLimits counts the grants themselves.
func (w *world) checkLimits() {
	s := w.r.Strategy
	inFlight, byStage := 0, make([]int, len(s.Stages))
	for _, m := range w.hosts {
		if m.grant == nil {
			continue
		}
		if m.grant.Outcome == "" {
			inFlight++
		}
		if !m.excuse {
			byStage[m.grant.Stage]++
		}
	}
	if s.MaxInFlight > 0 && inFlight > s.MaxInFlight {
		w.t.Fatalf("%d in flight, limit %d", inFlight, s.MaxInFlight)
	}
	if inFlight != rollout.InFlight(w.r) {
		w.t.Fatalf("%d in flight, the rollout counts %d", inFlight, rollout.InFlight(w.r))
	}
	if s.Rate != nil && w.recent() > s.Rate.Hosts {
		w.t.Fatalf("%d granted in %d s, limit %d", w.recent(), s.Rate.Period, s.Rate.Hosts)
	}
	counted := map[string]int{}
	for k, st := range s.Stages {
		if st.Count > 0 {
			counted[st.Group] += byStage[k]
			if counted[st.Group] > st.Count {
				w.t.Fatalf("the stages up to %d granted %d hosts, limit %d", k, counted[st.Group], st.Count)
			}
		}
	}
}

func (w *world) judge(m *member, outcome string) {
	if m.grant == nil {
		return
	}
	was := m.grant.Outcome
	next, s := judged(w.r, m.grant.Stage, was, rollout.Verdict{Outcome: outcome, Reason: rollout.ReasonHealthy, Message: "so"}, w.now)
	if was == "" || was == api.OutcomeSucceeded && outcome == api.OutcomeFailed {
		m.grant.Outcome = outcome
	}
	active := w.r.State == api.RolloutRunning
	w.take(next, s)
	strict := w.r.Strategy.MaxFailed == 0 && w.r.Strategy.MaxFailedPct == 0
	if active && strict && m.grant.Outcome == api.OutcomeFailed && was != api.OutcomeFailed && !w.closed {
		w.t.Fatalf("%s failed, none may, and the gate is open: %s", m.Name, w.r.State)
	}
}

func (w *world) census() rollout.Census {
	tally := rollout.NewTally(w.r)
	for _, m := range w.hosts {
		if m.grant != nil {
			tally.Granted(m.Host, *m.grant)
		} else {
			tally.Waiting(m.Host)
		}
	}
	return tally.Census()
}

func (w *world) tick() {
	for range 50 {
		before := w.r
		next, s := rollout.Tick(w.r, w.census(), w.now)
		w.take(next, s)
		if before.State == api.RolloutRunning && w.r.Stage > before.Stage && w.closed {
			w.t.Fatal("a stage began behind a closed gate")
		}
		if !s.Changed() {
			return
		}
	}
	w.t.Fatal("ticks never come to rest")
}

type verb func(api.Rollout, time.Time) (api.Rollout, rollout.Step, error)

func (w *world) operator(v verb) bool {
	next, s, err := v(w.r, w.now)
	if err != nil {
		return false
	}
	w.take(next, s)
	return true
}

func (w *world) resume() bool {
	if !w.operator(rollout.Resume) {
		return false
	}
	w.closed = false
	for _, m := range w.hosts {
		m.excuse = m.excuse || m.grant != nil && m.grant.Outcome == api.OutcomeFailed
	}
	return true
}

func (w *world) act() {
	t := w.t
	switch rapid.IntRange(0, 19).Draw(t, "act") {
	case 0, 1, 2, 3, 4:
		if m := w.draw(); m != nil {
			w.ask(m, rapid.IntRange(0, 2).Draw(t, "replica"))
		}
	case 5, 6, 7, 8, 9:
		if m := w.draw(); m != nil {
			w.judge(m, rapid.SampledFrom([]string{api.OutcomeSucceeded, api.OutcomeSucceeded, api.OutcomeSucceeded, api.OutcomeFailed}).Draw(t, "outcome"))
		}
	case 10, 11, 12:
		w.tick()
	case 13:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 4*3600).Draw(t, "seconds")) * time.Second)
	case 14:
		if m := w.draw(); m != nil {
			m.Held, m.Silent, m.Busy = rapid.Bool().Draw(t, "held"), rapid.Bool().Draw(t, "silent"), rapid.Bool().Draw(t, "busy")
		}
	case 15:
		w.join(fmt.Sprintf("late%d", len(w.hosts)))
	case 16:
		w.operator(rollout.Approve)
	case 17:
		w.resume()
	case 18:
		w.operator(rapid.SampledFrom([]verb{rollout.Pause, rollout.Pause, rollout.Abort, rollout.Rollback}).Draw(t, "verb"))
	case 19:
		w.take(rollout.Downtime(w.r, time.Minute, time.Minute, w.now))
	}
}

// rescue shows that the rollout is not stuck: a patient operator with a
// healthy fleet always brings it to an end.
func (w *world) rescue() {
	for _, m := range w.hosts {
		m.Held, m.Silent, m.Busy = false, false, false
	}
	for range 4000 {
		switch w.r.State {
		case api.RolloutCompleted, api.RolloutAborted:
			return
		case api.RolloutDraft, api.RolloutAwaitingApproval:
			w.operator(rollout.Approve)
		case api.RolloutPaused, api.RolloutInconclusive:
			w.resume()
		case api.RolloutRollingBack:
			w.take(rollout.RollbackEnded(w.r, api.Rollout{State: api.RolloutCompleted, Version: "1"}, w.now))
		case api.RolloutRunning:
			for _, m := range w.hosts {
				w.ask(m, 0)
				if m.grant != nil && m.grant.Outcome == "" {
					w.judge(m, api.OutcomeSucceeded)
				}
			}
			w.tick()
		}
		w.now = w.now.Add(10 * time.Minute)
	}
	w.t.Fatalf("it is stuck in %s (%s), stage %d: %+v", w.r.State, w.r.Reason, w.r.Stage, w.r.Progress)
}

func TestRandomRolloutsKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 150).Draw(t, "acts") {
			w.act()
			w.checkLimits()
		}
		state := w.r
		if !rollout.Ended(state.State) {
			if _, _, err := rollout.Abort(state, w.now); err != nil {
				t.Fatalf("a rollout that has not ended can always be aborted: %v", err)
			}
		}
		w.rescue()
	})
}
