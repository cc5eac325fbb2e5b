package server_test

import (
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
)

// twoReplicas are two servers on one PostgreSQL; the way of the second one to
// it can be cut or stalled.
func twoReplicas(t *testing.T) (a, b *running, toB *wire) {
	t.Helper()
	near, far := newConfig(t), newConfig(t)
	near.DB = pgtest.NewSchema(t)
	toB, far.DB = newWire(t, near.DB)
	a = start(t, near)
	b = start(t, far)
	return a, b, toB
}

// said is a heartbeat of the host h with one agent.
func (r *running) said(t *testing.T, host string, a meta.RealAgent) meta.DesiredAgent {
	t.Helper()
	a.Name, a.Status = "demo", "started"
	got, status := r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: host, Arch: "linux_amd64", Protocol: 1, RealAgents: []meta.RealAgent{a}})
	if status != http.StatusOK || len(got.DesiredAgents) > 1 {
		t.Fatalf("heartbeat of %s got %d %+v", host, status, got)
	}
	return append(got.DesiredAgents, meta.DesiredAgent{})[0]
}

func (r *running) rollOut(t *testing.T, version string, stages ...api.Stage) api.Rollout {
	t.Helper()
	ro, err := r.admin.CreateRollout(t.Context(), api.NewRollout{
		Agent: "demo", Version: version, Scope: api.Scope{Kind: api.ScopeEveryone}, Inline: &api.Strategy{Stages: stages},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ro
}

var atOnce = api.Stage{Percent: 100, Soak: 3600}

// A server that was cut off from the database knows nothing of what the others
// granted since. A host that it would call back is told to stay as it is.
func TestAServerThatIsCutOffCallsNobodyBack(t *testing.T) {
	a, b, toB := twoReplicas(t)
	for _, v := range []string{"1.0", "2.0"} {
		a.publish(t, "demo", v)
	}
	a.deploy(t, "demo", "1.0")
	within(t, func() bool { return b.said(t, "probe", meta.RealAgent{Version: "1.0"}).Version == "1.0" })
	for name, agent := range map[string]meta.RealAgent{
		"names the rollout":                {Version: "2.0", DesiredVersion: "2.0", Phase: meta.PhaseIdle},
		"older, tells only its version":    {Version: "2.0"},
		"names what it works towards":      {Version: "1.0", DesiredVersion: "2.0", Phase: meta.PhaseProbation},
		"is in the middle of replacing it": {Version: "1.0", DesiredVersion: "2.0", Phase: meta.PhaseStarting},
	} {
		t.Run(name, func(t *testing.T) {
			host := "h-" + string(agent.Phase) + agent.DesiredVersion
			before := meta.RealAgent{Version: "1.0"}
			if a.said(t, host, before).Version != "1.0" || b.said(t, host, before).Version != "1.0" {
				t.Fatal("the host is not told 1.0 to begin with")
			}
			toB.setCut(true)
			ro := a.rollOut(t, "2.0", atOnce)
			got := a.said(t, host, before)
			if got.Version != "2.0" || got.Rollout != ro.ID {
				t.Fatalf("the host was granted %+v", got)
			}
			if agent.DesiredVersion != "" {
				agent.Rollout = ro.ID
			}
			for range 3 { // also when it repeats itself
				got := b.said(t, host, agent)
				if moves := got.Cmd == meta.CmdStart && got.Version != agent.Version; moves || got.Cmd == meta.CmdStop {
					t.Errorf("the server that was cut off said %+v to %+v", got, agent)
				}
				if agent.Phase == meta.PhaseStarting && got.Cmd != meta.CmdNone {
					t.Errorf("the host was disturbed in the middle: %+v", got)
				}
			}
			toB.setCut(false)
			within(t, func() bool { return b.said(t, host, agent).Version == "2.0" })
			if _, err := a.admin.ActOnRollout(t.Context(), ro.ID, api.ActionAbort, api.RolloutAction{}); err != nil {
				t.Fatal(err)
			}
			a.deploy(t, "demo", "1.0")
			within(t, func() bool { return b.said(t, host, before).Version == "1.0" })
		})
	}
}

// A server that was cut off knows nothing of a word to stop or to start. By the
// mark of a later answer, the host that obeyed another server is told from one
// whose agent has crashed: it is told to stay as it is, and to forget no mark.
func TestAServerThatIsCutOffTakesNoStopForACrash(t *testing.T) {
	a, b, toB := twoReplicas(t)
	a.publish(t, "demo", "1.0")
	wanted := a.deploy(t, "demo", "1.0")
	say := func(cmd string) {
		t.Helper()
		wanted.Cmd, wanted.Revision = cmd, 0
		if _, err := a.admin.PutAssignment(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
	}
	report := func(r *running, status, mark string) (meta.DesiredAgent, string) {
		t.Helper()
		got, code := r.heartbeat(t, "", beatOf("h", "1.0", status, mark))
		if code != http.StatusOK {
			t.Fatalf("the heartbeat got %d", code)
		}
		return append(got.DesiredAgents, meta.DesiredAgent{})[0], got.SerialMark
	}
	for _, c := range []struct{ before, beforeStatus, word, after, mustNot string }{
		{meta.CmdStart, meta.StatusStarted, meta.CmdStop, meta.StatusStopped, meta.CmdStart},
		{meta.CmdStop, meta.StatusStopped, meta.CmdStart, meta.StatusStarted, meta.CmdStop},
	} {
		t.Run(c.word, func(t *testing.T) {
			say(c.before)
			within(t, func() bool { got, _ := report(b, c.beforeStatus, ""); return got.Cmd == c.before })
			toB.setCut(true)
			say(c.word)
			got, mark := report(a, c.beforeStatus, "")
			if got.Cmd != c.word || mark == "" {
				t.Fatalf("the host is told %+v, mark %q", got, mark)
			}
			for range 3 { // also when it repeats itself
				if got, other := report(b, c.after, mark); got.Cmd == c.mustNot || other != "" {
					t.Errorf("the server that was cut off said %+v, mark %q", got, other)
				}
			}
			toB.setCut(false)
			within(t, func() bool { got, again := report(b, c.after, mark); return got.Cmd == c.word && again == mark })
		})
	}
	crash, _ := report(b, meta.StatusStopped, "") // of a host that was told nothing later
	if crash.Cmd != meta.CmdStart {
		t.Errorf("what has crashed is told %+v", crash)
	}
}

// Nobody tells the other servers of a rollout as fast as a host can be there:
// what it reports makes them look.
func TestAHostIsFasterThanTheNewsOfItsRollout(t *testing.T) {
	a, b, toB := twoReplicas(t)
	for _, v := range []string{"1.0", "2.0"} {
		a.publish(t, "demo", v)
	}
	a.deploy(t, "demo", "1.0")
	within(t, func() bool { return b.said(t, "h", meta.RealAgent{Version: "1.0"}).Version == "1.0" })
	toB.setCut(true) // so that no news comes
	ro := a.rollOut(t, "2.0", atOnce)
	a.said(t, "h", meta.RealAgent{Version: "1.0"})
	toB.setCut(false)
	within(t, func() bool { // the first heartbeats may find a broken connection
		got := b.said(t, "h", meta.RealAgent{Version: "2.0", DesiredVersion: "2.0", Rollout: ro.ID, Phase: meta.PhaseIdle})
		if got.Cmd == meta.CmdStart && got.Version != "2.0" {
			t.Fatalf("called back: %+v", got)
		}
		return got.Rollout == ro.ID
	})
}

// A database that stalls, rather than refuses, holds no heartbeat for more than
// a second, and no goroutine for long.
func TestAStalledDatabaseHoldsNoHeartbeat(t *testing.T) {
	a, b, toB := twoReplicas(t)
	for _, v := range []string{"1.0", "2.0"} {
		a.publish(t, "demo", v)
	}
	a.deploy(t, "demo", "1.0")
	within(t, func() bool { return b.said(t, "h1", meta.RealAgent{Version: "1.0"}).Version == "1.0" })
	hosts := []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"}
	for _, h := range hosts {
		b.said(t, h, meta.RealAgent{Version: "1.0"})
	}
	ro := a.rollOut(t, "2.0", api.Stage{Count: 1}, atOnce)
	within(t, func() bool { _, err := b.as(t, a.token).Rollout(t.Context(), ro.ID); return err == nil })
	toB.setStall(true)
	before := runtime.NumGoroutine()
	versions := map[bool]string{true: "2.0", false: "1.0"} // steady ones, and ones that claim what is not known
	for round := range 4 {
		for i, h := range hosts {
			version := versions[round > 0 && i%2 == 0]
			begun := time.Now()
			got := b.said(t, h, meta.RealAgent{Version: version})
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("round %d: the heartbeat of %s took %s", round, h, took)
			}
			if got.Cmd == meta.CmdStart && got.Version != version {
				t.Errorf("round %d: %s on %s was told %s", round, h, version, got.Version)
			}
		}
	}
	if n := runtime.NumGoroutine(); n > before+100 {
		t.Errorf("%d goroutines, %d before the database stalled", n, before)
	}
	toB.setStall(false)
	within(t, func() bool {
		for _, h := range hosts {
			if b.said(t, h, meta.RealAgent{Version: "1.0"}).Version == "2.0" {
				return true
			}
		}
		return false
	})
}
