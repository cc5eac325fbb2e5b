package rollout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

var t0 = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC) // a Monday

// bench is a small fleet that answers as it is told, around one rollout.
type bench struct {
	t      *testing.T
	r      api.Rollout
	now    time.Time
	hosts  map[string]*rollout.Host
	grants map[string]api.Grant
	steps  []rollout.Step
}

func newBench(t *testing.T, s api.Strategy, hosts int) *bench {
	t.Helper()
	s.Name = "test"
	if err := s.Validate(); err != nil {
		t.Fatalf("strategy: %v", err)
	}
	b := &bench{t: t, now: t0, hosts: map[string]*rollout.Host{}, grants: map[string]api.Grant{}}
	for i := range hosts {
		name := fmt.Sprintf("h%02d", i)
		b.hosts[name] = &rollout.Host{Name: name}
	}
	var st rollout.Step
	b.r, st = rollout.Create(api.Rollout{ID: "r1", Agent: "falcon-agent", Version: "2.0.0", Previous: "1.0.0", Salt: "pepper", Strategy: s}, false, b.now)
	b.note(st)
	return b
}

func (b *bench) note(s rollout.Step) {
	if s.Changed() {
		b.steps = append(b.steps, s)
	}
}

func (b *bench) names() []string {
	names := make([]string, 0, len(b.hosts))
	for n := range b.hosts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (b *bench) census() rollout.Census {
	tally := rollout.NewTally(b.r)
	for _, n := range b.names() {
		if g, ok := b.grants[n]; ok {
			tally.Granted(*b.hosts[n], g)
		} else {
			tally.Waiting(*b.hosts[n])
		}
	}
	return tally.Census()
}

func (b *bench) ask(host string) rollout.Decision {
	if _, ok := b.grants[host]; ok {
		return rollout.Decision{}
	}
	recent := 0
	if rate := b.r.Strategy.Rate; rate != nil {
		for _, g := range b.grants {
			if g.Granted.After(b.now.Add(-time.Duration(rate.Period) * time.Second)) {
				recent++
			}
		}
	}
	next, d := rollout.Admit(b.r, *b.hosts[host], recent, b.now)
	if d.Granted() {
		b.r, b.grants[host] = next, d.Grant
	}
	return d
}

func (b *bench) askAll() (granted []string) {
	for _, n := range b.names() {
		if b.ask(n).Granted() {
			granted = append(granted, n)
		}
	}
	return granted
}

func (b *bench) judge(host, outcome string) {
	b.t.Helper()
	g, ok := b.grants[host]
	if !ok {
		b.t.Fatalf("%s has no grant", host)
	}
	v := rollout.Verdict{Outcome: outcome, Reason: rollout.ReasonHostFailed, Message: host + " " + outcome}
	var s rollout.Step
	b.r, s = judged(b.r, g.Stage, g.Outcome, v, b.now)
	g.Outcome = outcome
	b.grants[host] = g
	b.note(s)
}

// judgeAll gives every host in flight its outcome.
func (b *bench) judgeAll(outcome string) {
	for _, n := range b.names() {
		if g, ok := b.grants[n]; ok && g.Outcome == "" {
			b.judge(n, outcome)
		}
	}
}

func (b *bench) tick() {
	for range 100 {
		var s rollout.Step
		b.r, s = rollout.Tick(b.r, b.census(), b.now)
		if !s.Changed() {
			return
		}
		b.note(s)
	}
	b.t.Fatal("ticks never come to rest")
}

// finish drives the rollout with healthy hosts until it waits for somebody.
func (b *bench) finish() {
	for range 200 {
		b.askAll()
		b.judgeAll(api.OutcomeSucceeded)
		b.tick()
		b.now = b.now.Add(time.Minute)
		if b.r.State != api.RolloutRunning {
			return
		}
	}
}

func (b *bench) wantState(state api.RolloutState, why rollout.Reason) {
	b.t.Helper()
	if b.r.State != state || b.r.Reason != string(why) {
		b.t.Fatalf("the rollout is %s (%s), want %s (%s); steps: %+v", b.r.State, b.r.Reason, state, why, b.steps)
	}
}

func (b *bench) do(verb func(api.Rollout, time.Time) (api.Rollout, rollout.Step, error)) {
	b.t.Helper()
	r, s, err := verb(b.r, b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	b.r = r
	b.note(s)
}

func TestAGoodReleaseGoesThroughEveryStage(t *testing.T) {
	b := newBench(t, api.DefaultStrategy(100, 0), 40)
	if got := b.askAll(); len(got) != 1 {
		t.Fatalf("the canary stage granted %v, want one host", got)
	}
	b.tick()
	b.wantState(api.RolloutRunning, rollout.ReasonStageStarted)
	if b.r.Stage != 0 {
		t.Fatal("the canary's stage ended before the canary was judged")
	}
	b.judgeAll(api.OutcomeSucceeded)
	b.tick()
	quarter := b.askAll()
	for _, h := range quarter {
		if rollout.Share("pepper", h) >= 25 {
			t.Errorf("%s is no member of the first quarter", h)
		}
	}
	b.finish()
	b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
	if len(b.grants) != 40 {
		t.Errorf("%d hosts were granted, want 40", len(b.grants))
	}
	if last := b.steps[len(b.steps)-1]; last.Effect != rollout.EffectAssign {
		t.Errorf("completion asks for %q, want the assignment to move", last.Effect)
	}
}

func TestAFailedCanaryClosesTheGate(t *testing.T) {
	for onFailure, want := range map[string]api.RolloutState{
		"": api.RolloutPaused, "pause": api.RolloutPaused, "abort": api.RolloutAborted, "rollback": api.RolloutRollingBack,
	} {
		t.Run("on failure "+onFailure, func(t *testing.T) {
			s := api.DefaultStrategy(100, 0)
			s.OnFailure = onFailure
			b := newBench(t, s, 20)
			b.askAll()
			b.judgeAll(api.OutcomeFailed)
			b.wantState(want, rollout.ReasonTooManyFailures)
			if got := b.askAll(); len(got) > 0 {
				t.Errorf("the closed gate let %v through", got)
			}
			b.tick()
			b.wantState(want, rollout.ReasonTooManyFailures)
		})
	}
}

func TestACanaryThatFailsAsAWholeClosesTheGateWhateverTheThresholds(t *testing.T) {
	s := api.DefaultStrategy(100, 0)
	s.MaxFailed, s.MaxFailedPct = 10, 50
	b := newBench(t, s, 20)
	b.askAll()
	b.judgeAll(api.OutcomeFailed)
	if b.r.State == api.RolloutRunning {
		b.tick()
	}
	if b.r.State != api.RolloutPaused {
		t.Fatalf("the rollout is %s, want paused", b.r.State)
	}
}

func TestResumeTriesAnotherCanary(t *testing.T) {
	b := newBench(t, api.DefaultStrategy(100, 0), 20)
	first := b.askAll()
	b.judgeAll(api.OutcomeFailed)
	b.do(rollout.Resume)
	b.wantState(api.RolloutRunning, rollout.ReasonResumed)
	second := b.askAll()
	if len(second) != 1 || second[0] == first[0] {
		t.Fatalf("after %v failed and was forgiven, %v was granted, want one other host", first, second)
	}
	b.finish()
	b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
}

func TestThresholds(t *testing.T) {
	all := []api.Stage{{Percent: 100}}
	for name, c := range map[string]struct {
		strategy   api.Strategy
		good, bad  int
		thenSettle bool
		state      api.RolloutState
		reason     rollout.Reason
	}{
		"one failure is one too many by default": {api.Strategy{Stages: all}, 30, 1, false, api.RolloutPaused, rollout.ReasonTooManyFailures},
		"at most three may fail, three did":      {api.Strategy{Stages: all, MaxFailed: 3}, 37, 3, true, api.RolloutCompleted, rollout.ReasonCompleted},
		"at most three may fail, four did":       {api.Strategy{Stages: all, MaxFailed: 3}, 30, 4, false, api.RolloutPaused, rollout.ReasonTooManyFailures},
		"ten percent may, ten percent did":       {api.Strategy{Stages: all, MaxFailedPct: 10, MinSample: 10}, 36, 4, true, api.RolloutCompleted, rollout.ReasonCompleted},
		"ten percent may, more did":              {api.Strategy{Stages: all, MaxFailedPct: 10, MinSample: 10}, 30, 5, false, api.RolloutPaused, rollout.ReasonFailureRate},
		"failures come before successes":         {api.Strategy{Stages: all, MaxFailedPct: 10, MinSample: 3}, 0, 4, false, api.RolloutRunning, rollout.ReasonStageStarted},
		"but too many are too many":              {api.Strategy{Stages: all, MaxFailedPct: 10, MinSample: 3}, 0, 5, false, api.RolloutPaused, rollout.ReasonFailureRate},
		"the sample is too small for a percent":  {api.Strategy{Stages: all, MaxFailedPct: 10, MinSample: 50}, 36, 4, true, api.RolloutInconclusive, rollout.ReasonSmallSample},
		"absolute and percent, the absolute":     {api.Strategy{Stages: all, MaxFailed: 2, MaxFailedPct: 50}, 30, 3, false, api.RolloutPaused, rollout.ReasonTooManyFailures},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.strategy, 40)
			b.askAll()
			names := b.names()
			for _, h := range names[:c.good] {
				b.judge(h, api.OutcomeSucceeded)
			}
			for _, h := range names[c.good : c.good+c.bad] {
				b.judge(h, api.OutcomeFailed)
			}
			if c.thenSettle {
				b.tick()
			}
			b.wantState(c.state, c.reason)
		})
	}
}

func TestTooLittleToJudgeIsInconclusiveAndResumeAcceptsIt(t *testing.T) {
	for name, c := range map[string]struct {
		block  func(*rollout.Host)
		reason rollout.Reason
	}{
		"every host is silent": {func(h *rollout.Host) { h.Silent = true }, rollout.ReasonNoEvidence},
		"every host is held":   {func(h *rollout.Host) { h.Held = true }, rollout.ReasonNoEvidence},
		"no host has its arch": {func(h *rollout.Host) { h.NoArtifact = true }, rollout.ReasonNoArtifact},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, api.DefaultStrategy(100, 0), 10)
			for _, h := range b.hosts {
				c.block(h)
			}
			b.tick()
			b.wantState(api.RolloutInconclusive, c.reason)
			if got := b.askAll(); len(got) > 0 {
				t.Errorf("an inconclusive rollout granted %v", got)
			}
			b.do(rollout.Resume)
			b.tick()
			if b.r.Stage != 1 {
				t.Errorf("after resume it is in stage %d, want the next one", b.r.Stage)
			}
		})
	}
	t.Run("more silent than heard of", func(t *testing.T) {
		b := newBench(t, api.Strategy{Stages: []api.Stage{{Percent: 100}}}, 10)
		for i, n := range b.names() {
			b.hosts[n].Silent = i >= 4
		}
		b.now = b.now.Add(time.Minute)
		for _, n := range b.names()[:4] {
			b.ask(n)
			b.judge(n, api.OutcomeSucceeded)
		}
		b.tick()
		b.wantState(api.RolloutInconclusive, rollout.ReasonTooManySilent)
	})
}

func TestHostsThatNeedNoGrant(t *testing.T) {
	t.Run("already on the target", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 8)
		for _, h := range b.hosts {
			h.OnTarget = true
		}
		b.tick()
		b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
		if len(b.grants) > 0 {
			t.Errorf("granted %v", b.grants)
		}
		size, already := 0, 0
		for _, p := range b.r.Progress {
			size, already = size+p.Size, already+p.Already
		}
		if size != 8 || already != 8 {
			t.Errorf("of 8 hosts %d are counted, %d on the target: %+v", size, already, b.r.Progress)
		}
	})
	t.Run("an empty scope completes", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 0)
		b.tick()
		b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
	})
	t.Run("held hosts are passed over and may follow", func(t *testing.T) {
		b := newBench(t, api.Strategy{Stages: []api.Stage{{Percent: 50, Soak: 600}, {Percent: 100}}}, 12)
		var held string
		for _, n := range b.names() {
			if rollout.Share("pepper", n) < 50 {
				held = n
			}
		}
		b.hosts[held].Held = true
		b.askAll()
		b.judgeAll(api.OutcomeSucceeded)
		b.tick()
		b.wantState(api.RolloutRunning, rollout.ReasonStageSettled)
		b.hosts[held].Held = false
		if !b.ask(held).Granted() {
			t.Errorf("%s is not held any more and was not granted", held)
		}
	})
}

func TestLateJoinersAreCovered(t *testing.T) {
	b := newBench(t, api.Strategy{Stages: []api.Stage{{Percent: 50, Soak: 3600}, {Percent: 100}}}, 10)
	b.askAll()
	b.judgeAll(api.OutcomeSucceeded)
	b.tick()
	b.wantState(api.RolloutRunning, rollout.ReasonStageSettled)
	late := 0
	for i := range 20 {
		h := &rollout.Host{Name: fmt.Sprintf("late%d", i)}
		b.hosts[h.Name] = h
		if b.ask(h.Name).Granted() {
			late++
			if rollout.Share("pepper", h.Name) >= 50 {
				t.Errorf("%s is not of the first half", h.Name)
			}
		}
	}
	if late == 0 {
		t.Error("no late joiner was granted")
	}
}

func TestSoakIsHealthAfterTheLastSuccess(t *testing.T) {
	s := api.Strategy{Stages: []api.Stage{{Count: 1, Soak: 300}, {Percent: 100}}}
	b := newBench(t, s, 5)
	b.askAll()
	b.judgeAll(api.OutcomeSucceeded)
	b.tick()
	b.wantState(api.RolloutRunning, rollout.ReasonStageSettled)
	b.now = b.now.Add(299 * time.Second)
	b.tick()
	if b.r.Stage != 0 {
		t.Fatal("the soak time was cut short")
	}
	for h := range b.grants {
		b.judge(h, api.OutcomeFailed)
	}
	b.wantState(api.RolloutPaused, rollout.ReasonTooManyFailures)
	if p := b.r.Progress[0]; p.Succeeded != 0 || p.Failed != 1 {
		t.Errorf("progress is %+v, want the success taken back", p)
	}
}

func TestApprovalGatesAndDrafts(t *testing.T) {
	s := api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 100, Approval: true}}}
	b := newBench(t, s, 6)
	b.finish()
	b.wantState(api.RolloutAwaitingApproval, rollout.ReasonApprovalNeeded)
	if got := b.askAll(); len(got) > 0 {
		t.Fatalf("granted %v without approval", got)
	}
	b.do(rollout.Pause)
	b.do(rollout.Resume)
	b.wantState(api.RolloutAwaitingApproval, rollout.ReasonApprovalNeeded)
	b.do(rollout.Approve)
	b.wantState(api.RolloutRunning, rollout.ReasonApproved)
	b.finish()
	b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)

	draft, _ := rollout.Create(api.Rollout{ID: "d", Strategy: s}, true, t0)
	if draft.State != api.RolloutDraft {
		t.Fatalf("a draft is %s", draft.State)
	}
	draft, _, err := rollout.Approve(draft, t0)
	if err != nil || draft.State != api.RolloutRunning {
		t.Fatalf("an approved draft is %s (%v), want running", draft.State, err)
	}
}

func TestLimitsBesideTheStage(t *testing.T) {
	all := []api.Stage{{Percent: 100}}
	for name, c := range map[string]struct {
		strategy api.Strategy
		prepare  func(*bench)
		granted  int
		then     rollout.Reason
	}{
		"in flight":         {api.Strategy{Stages: all, MaxInFlight: 3}, nil, 3, rollout.ReasonInFlightLimit},
		"rate":              {api.Strategy{Stages: all, Rate: &api.RateLimit{Hosts: 4, Period: 60}}, nil, 4, rollout.ReasonRateLimited},
		"window":            {api.Strategy{Stages: all, Window: &api.Window{From: "22:00", To: "04:00"}}, nil, 0, rollout.ReasonOutsideWindow},
		"busy":              {api.Strategy{Stages: all}, func(b *bench) { setAll(b, func(h *rollout.Host) { h.Busy = true }) }, 0, rollout.ReasonHostBusy},
		"busy, in parallel": {api.Strategy{Stages: all, Parallel: true}, func(b *bench) { setAll(b, func(h *rollout.Host) { h.Busy = true }) }, 9, ""},
		"held":              {api.Strategy{Stages: all}, func(b *bench) { setAll(b, func(h *rollout.Host) { h.Held = true }) }, 0, rollout.ReasonHostHeld},
		"count":             {api.Strategy{Stages: []api.Stage{{Count: 2}, {Percent: 100}}}, nil, 2, rollout.ReasonLimitReached},
		"another group":     {api.Strategy{Stages: []api.Stage{{Count: 2, Group: "lab"}, {Percent: 100}}}, nil, 0, rollout.ReasonNotYet},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.strategy, 9)
			if c.prepare != nil {
				c.prepare(b)
			}
			if got := b.askAll(); len(got) != c.granted {
				t.Errorf("granted %v, want %d hosts", got, c.granted)
			}
			for _, n := range b.names() {
				if _, ok := b.grants[n]; ok {
					continue
				}
				if d := b.ask(n); d.Reason != c.then || d.Message == "" {
					t.Errorf("%s was refused for %q (%s), want %q", n, d.Reason, d.Message, c.then)
				}
			}
		})
	}
}

func setAll(b *bench, set func(*rollout.Host)) {
	for _, h := range b.hosts {
		set(h)
	}
}

func TestTheWindowOpensAndCloses(t *testing.T) {
	b := newBench(t, api.Strategy{Stages: []api.Stage{{Percent: 100}}, Window: &api.Window{From: "12:00", To: "13:00"}}, 4)
	b.tick()
	b.wantState(api.RolloutRunning, rollout.ReasonWindowClosed)
	b.now = t0.Add(2 * time.Hour)
	b.tick()
	b.wantState(api.RolloutRunning, rollout.ReasonWindowOpened)
	if got := b.askAll(); len(got) != 4 {
		t.Errorf("granted %v in the window, want all four", got)
	}
}

func TestAfterTheEnd(t *testing.T) {
	t.Run("a rollback ends with its rollout", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 4)
		b.askAll()
		b.do(rollout.Rollback)
		b.wantState(api.RolloutRollingBack, rollout.ReasonRollback)
		if b.steps[len(b.steps)-1].Effect != rollout.EffectRollback {
			t.Error("no rollout back was asked for")
		}
		r, s := rollout.RollbackEnded(b.r, api.Rollout{State: api.RolloutCompleted, Version: "1.0.0"}, b.now)
		if r.State != api.RolloutAborted || s.Reason != rollout.ReasonRolledBack {
			t.Errorf("afterwards it is %s (%s)", r.State, s.Reason)
		}
		if _, _, err := rollout.Rollback(r, b.now); err == nil {
			t.Error("it can be rolled back once more")
		}
	})
	t.Run("a completed one can still be rolled back", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 4)
		b.finish()
		b.do(rollout.Rollback)
		b.wantState(api.RolloutCompleted, rollout.ReasonRollback)
	})
	t.Run("without a previous release there is no way back", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 4)
		b.r.Previous = ""
		if _, _, err := rollout.Rollback(b.r, b.now); err == nil {
			t.Error("a rollback to nothing was accepted")
		}
	})
	t.Run("superseded", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 4)
		r, s := rollout.Supersede(b.r, rollout.ReasonSuperseded, "rollout r2", b.now)
		if r.State != api.RolloutAborted || s.Reason != rollout.ReasonSuperseded {
			t.Errorf("it is %s (%s)", r.State, s.Reason)
		}
	})
	t.Run("downtime moves deadlines only while something is in flight", func(t *testing.T) {
		b := newBench(t, api.DefaultStrategy(100, 0), 4)
		if _, s := rollout.Downtime(b.r, time.Minute, time.Minute, b.now); s.Changed() {
			t.Error("deadlines of nobody moved")
		}
		b.askAll()
		if _, s := rollout.Downtime(b.r, time.Minute, time.Minute, b.now); s.Effect != rollout.EffectExtend || s.Reason != rollout.ReasonExtended {
			t.Errorf("got %+v", s)
		}
	})
}

// While a server is away nobody sees whether a stage stays healthy: what it had
// soaked until then counts, and nothing else.
func TestASoakTimeIsNotOverBecauseTheServerWasAway(t *testing.T) {
	now := time.Unix(1e9, 0)
	soaking := func(since time.Duration) api.Rollout {
		at := now.Add(-since)
		return api.Rollout{
			ID: "r1", State: api.RolloutRunning, SettledAt: &at, Progress: []api.StageCount{{Granted: 2, Succeeded: 2}, {}},
			Strategy: api.Strategy{Stages: []api.Stage{{Count: 2, Soak: 3600}, {Percent: 100}}},
		}
	}
	for name, c := range map[string]struct {
		since, away time.Duration // it settled, and the server was away
		left        time.Duration
	}{
		"away for a minute of it":       {20 * time.Minute, time.Minute, 46 * time.Minute},
		"away until long after its end": {30*time.Minute + 48*time.Hour, 48 * time.Hour, 35 * time.Minute},
		"away as soon as it had begun":  {2 * time.Hour, 2*time.Hour - time.Second, time.Hour},
		"it was over before":            {26 * time.Hour, 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := rollout.Downtime(soaking(c.since), c.away, 5*time.Minute, now)
			if !s.Changed() {
				t.Fatal("nothing moved")
			}
			if left := r.SettledAt.Add(time.Hour).Sub(now); max(left, 0) != c.left {
				t.Errorf("%s are left, want %s", left, c.left)
			}
			next, _ := rollout.Tick(r, nil, now)
			if moved := next.Stage > 0; moved != (c.left == 0) {
				t.Errorf("the next stage began: %v", moved)
			}
		})
	}
}

func TestMembershipIsSaltedDeterministicAndOnlyGrows(t *testing.T) {
	inTen, inBoth, other := 0, 0, 0
	for i := range 10000 {
		host := fmt.Sprintf("web-%d.example", i)
		share := rollout.Share("a", host)
		if share != rollout.Share("a", host) || share < 0 || share >= 100 {
			t.Fatalf("share of %s is %v", host, share)
		}
		if share < 10 {
			inTen++
			if rollout.Share("b", host) < 10 {
				inBoth++
			}
		}
		if rollout.Share("b", host) < 10 {
			other++
		}
	}
	if inTen < 900 || inTen > 1100 || other < 900 || other > 1100 {
		t.Errorf("ten percent of 10000 hosts were %d and %d", inTen, other)
	}
	if inBoth > 200 {
		t.Errorf("%d hosts are first under both salts, want about 100", inBoth)
	}
}

// A rollback is not given up because a host is away: one that returns is
// granted, in every state but ended, unless a person paused it.
func TestARollbackWaitsForWhoIsAway(t *testing.T) {
	away := func(t *testing.T, hosts int) *bench {
		b := newBench(t, api.RollbackStrategy(api.Strategy{}), hosts)
		b.r.RollbackOf = "r0"
		for _, h := range b.hosts {
			h.Silent = true
		}
		b.tick()
		return b
	}
	t.Run("nobody has been heard of", func(t *testing.T) {
		b := away(t, 2)
		b.wantState(api.RolloutRunning, rollout.ReasonStageStarted)
		for _, h := range b.hosts {
			h.Silent = false
		}
		b.finish()
		b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
	})
	t.Run("others are back", func(t *testing.T) {
		b := away(t, 3)
		b.hosts["h00"].Silent = false
		b.ask("h00")
		b.judgeAll(api.OutcomeSucceeded)
		b.tick()
		b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
		parent := api.Rollout{ID: "r0", State: api.RolloutRollingBack}
		if _, s := rollout.RollbackEnded(parent, b.r, b.now); !strings.Contains(s.Message, "2 that are silent or held") {
			t.Errorf("it says %q", s.Message)
		}
	})
	for state, reason := range map[api.RolloutState]rollout.Reason{
		api.RolloutInconclusive: rollout.ReasonNoEvidence, api.RolloutPaused: rollout.ReasonStageFailed, api.RolloutRunning: rollout.ReasonStageStarted,
	} {
		t.Run("a host returns while it is "+string(state), func(t *testing.T) {
			b := away(t, 2)
			b.r.State, b.r.Reason = state, string(reason)
			b.hosts["h00"].Silent = false
			if d := b.ask("h00"); !d.Granted() {
				t.Errorf("not granted: %+v", d)
			}
		})
	}
	t.Run("one that was given up goes on", func(t *testing.T) {
		b := away(t, 1)
		b.r.State, b.r.Reason = api.RolloutInconclusive, string(rollout.ReasonNoEvidence)
		b.hosts["h00"].Silent = false
		b.tick()
		b.finish()
		b.wantState(api.RolloutCompleted, rollout.ReasonCompleted)
	})
	t.Run("what a person paused stays so", func(t *testing.T) {
		b := away(t, 1)
		b.do(rollout.Pause)
		if d := b.ask("h00"); d.Granted() {
			t.Error("granted")
		}
	})
	t.Run("not once it has ended", func(t *testing.T) {
		b := away(t, 1)
		b.do(rollout.Abort)
		if d := b.ask("h00"); d.Granted() {
			t.Error("granted")
		}
	})
}

// judged counts a verdict on a grant of stage whose outcome was was, as the
// store does, and has the rollout evaluated.
func judged(r api.Rollout, stage int, was string, v rollout.Verdict, now time.Time) (api.Rollout, rollout.Step) {
	if v.Outcome == "" || v.Outcome == was || was == api.OutcomeFailed || stage >= len(r.Progress) {
		return r, rollout.Step{}
	}
	r.Progress = slices.Clone(r.Progress)
	p := &r.Progress[stage]
	if was == api.OutcomeSucceeded {
		p.Succeeded--
	}
	if v.Outcome == api.OutcomeSucceeded {
		p.Succeeded++
		return r, rollout.Step{}
	}
	p.Failed++
	return rollout.Evaluate(r, v.Message, now)
}
