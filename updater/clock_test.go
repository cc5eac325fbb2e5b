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

// rewrite changes a file of JSON in the var directory.
func rewrite(t *testing.T, h *host, file string, change func(map[string]any)) {
	t.Helper()
	path := filepath.Join(h.cfg.VarDir, file)
	data, err := os.ReadFile(path)
	must(t, err)
	var v map[string]any
	must(t, json.Unmarshal(data, &v))
	change(v)
	data, err = json.Marshal(v)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
}

// state is what the engine knows about falcon.
func state(h *host) plan.State {
	for _, s := range h.engine.States() {
		if s.Name == "falcon" {
			return s
		}
	}
	return plan.State{}
}

func TestABlockDatedInTheFutureCountsFromNow(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	bad := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{BeforeStart: "exit 1"})
	h.apply(bad)
	h.await("falcon", "was rolled back", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseRolledBack })
	h.halt()
	// The clock was ahead by centuries when that happened.
	far := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	rewrite(t, h, "journal/falcon.json", func(v map[string]any) {
		for _, b := range v["blocks"].([]any) {
			b := b.(map[string]any)
			b["since"], b["until"] = far, far.Add(10*time.Minute)
		}
		v["last"].(map[string]any)["since"] = far
		v["crash"] = map[string]any{"starts": 2, "last": far, "until": far.Add(10 * time.Second)}
	})
	h.boot()
	h.apply(bad)
	h.await("falcon", "was seen", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "quarantine") })
	s, now := state(h), time.Now()
	if len(s.Blocks) == 0 {
		t.Fatalf("no block is left: %+v", s)
	}
	for _, b := range s.Blocks {
		if b.Until.After(now.Add(10*time.Minute)) || b.Since.After(now) || !b.Until.After(now) {
			t.Errorf("block %+v; want one that ends within its own length from %v", b, now)
		}
	}
	if s.Crash.Until.After(now.Add(10*time.Second)) || s.Crash.Last.After(now) || s.Since > now.Unix() {
		t.Errorf("crash %+v, since %d; want nothing in the future", s.Crash, s.Since)
	}
	h.checkRunning("falcon", "1.0.0")
}

func TestAHoldDatedInTheFutureLastsItsOwnLengthFromNow(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	must(t, h.engine.HoldUntil("falcon", "exam week", time.Now().Add(time.Hour)))
	h.halt()
	far := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	rewrite(t, h, "holds.json", func(v map[string]any) {
		hold := v["falcon"].(map[string]any)
		hold["since"], hold["until"] = far, far.Add(10*time.Second)
	})
	h.boot()
	next := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	h.apply(next)
	h.await("falcon", "was held", func(a meta.RealAgent) bool { return a.Held })
	h.halt() // a restart does not begin it anew
	h.boot()
	h.apply(next)
	h.runs("falcon", "1.0.1")
}
