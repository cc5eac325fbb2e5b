package updater_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// settledAt has 1.0.0 running and the engine ended; stored is what the last
// reply wants then.
func settledAt(t *testing.T, stored func(h *host) meta.DesiredAgent) *host {
	t.Helper()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	h.halt()
	data, err := json.Marshal(plan.Desired{Agents: []meta.DesiredAgent{stored(h)}, Dialect: meta.DialectV1})
	must(t, err)
	agenttest.Write(t, filepath.Join(h.cfg.VarDir, "desired.json"), string(data), 0o600)
	return h
}

func (h *host) undisturbed() {
	h.t.Helper()
	if events := noted(h.t, h.agentDir("falcon"), 1); len(events) != 1 {
		h.t.Errorf("the agent was disturbed: %+v", events)
	}
}

func TestAStoredReplyOnlyRestartsUntilTheServerHasAnswered(t *testing.T) {
	t.Parallel()
	var newer meta.DesiredAgent
	h := settledAt(t, func(h *host) meta.DesiredAgent {
		newer = h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
		return newer
	})
	h.boot()
	for range 3 { // each of which makes it look and plan
		h.runs("falcon", "1.0.0")
	}
	h.undisturbed()
	agenttest.Kill(t, h.agentDir("falcon"))
	h.await("falcon", "came back", func(a meta.RealAgent) bool {
		return len(agenttest.Running(t, h.agentDir("falcon"))) == 1 && a.Status == meta.StatusStarted
	})
	h.checkRunning("falcon", "1.0.0")
	h.apply(newer) // the same as the stored one, but said now
	h.runs("falcon", "1.0.1")
}

func TestAStoredStopStopsNothingUntilTheServerHasAnswered(t *testing.T) {
	var stop meta.DesiredAgent
	h := settledAt(t, func(h *host) meta.DesiredAgent {
		stop = h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
		stop.Cmd = meta.CmdStop
		return stop
	})
	h.boot()
	for range 3 {
		h.runs("falcon", "1.0.0")
	}
	h.undisturbed()
	h.apply(stop)
	h.await("falcon", "stopped", func(a meta.RealAgent) bool { return a.Status == meta.StatusStopped })
}

// halfDone puts a transaction of a while ago into the journal.
func (h *host) halfDone(from, to string, phase meta.Phase, age time.Duration) {
	h.t.Helper()
	path := filepath.Join(h.cfg.VarDir, "journal/falcon.json")
	data, err := os.ReadFile(path)
	must(h.t, err)
	var r plan.Record
	must(h.t, json.Unmarshal(data, &r))
	r.Txn = &plan.Txn{
		Act: plan.ActUpgrade, From: plan.Target{Place: r.At, Version: from}, To: plan.Target{Place: r.At, Version: to},
		Wish:  plan.Wish{Agent: meta.DesiredAgent{Name: "falcon", Version: to, Cmd: meta.CmdStart}, Place: r.At, Listed: true},
		Phase: phase, Began: time.Now().Add(-age), Since: time.Now().Add(-age), Key: "md5:x", Failure: "it was bad",
	}
	data, err = json.Marshal(r)
	must(h.t, err)
	agenttest.Write(h.t, path, string(data), 0o600)
}

func TestAStaleJournalIsDroppedWithAWord(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, from, to string
		phase          meta.Phase
		age            time.Duration
		word           string
	}{
		{"stopping, neither from nor to", "0.8.0", "0.9.0", meta.PhaseStopping, time.Minute, ".version in "},
		{"starting, neither from nor to", "0.8.0", "0.9.0", meta.PhaseStarting, time.Minute, "names 1.0.0 by now"},
		{"probation, neither from nor to", "0.8.0", "0.9.0", meta.PhaseProbation, time.Minute, "half-done upgrade from 0.8.0 to 0.9.0"},
		{"rolling back, neither from nor to", "0.8.0", "0.9.0", meta.PhaseRollingBack, time.Minute, "is dropped"},
		{"nothing stopped, days ago", "1.0.0", "1.0.1", meta.PhaseStopping, 72 * time.Hour, "1.0.0 runs on"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := settledAt(t, func(h *host) meta.DesiredAgent { return h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}) })
			h.halfDone(c.from, c.to, c.phase, c.age)
			h.boot()
			a := h.await("falcon", "said it", func(a meta.RealAgent) bool { return a.Reason == "stale" })
			if !strings.Contains(a.Error, c.word) || a.Version != "1.0.0" || a.Status != meta.StatusStarted || a.Phase != meta.PhaseIdle {
				t.Errorf("report %+v; want %q", a, c.word)
			}
			log, err := os.ReadFile(h.logFile)
			if err != nil || !strings.Contains(string(log), c.word) {
				t.Errorf("the log does not say it: %v", err)
			}
			h.undisturbed()
		})
	}
}
