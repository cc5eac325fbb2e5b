package updater_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// reportAtOnce is what a heartbeat says that waits for no look.
func (h *host) reportAtOnce(name string) meta.RealAgent {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, a := range h.engine.Report(ctx) {
		if a.Name == name {
			return a
		}
	}
	return meta.RealAgent{}
}

func (h *host) state(name string) plan.State {
	for _, s := range h.engine.States() {
		if s.Name == name {
			return s
		}
	}
	return plan.State{}
}

// TestI7WhatWentWrongIsReportedAlsoWhenItIsOver has a failure pass between two
// heartbeats, and the next heartbeat lost.
func TestI7WhatWentWrongIsReportedAlsoWhenItIsOver(t *testing.T) {
	h := newHost(t)
	good := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	forged := good
	forged.MD5 = strings.Repeat("0", 32)
	h.boot()
	h.apply(forged)
	until(t, "the forged release failed", func() bool { return h.state("falcon").Phase == meta.PhaseFailed })
	h.apply(good)
	until(t, "the good one runs", func() bool {
		s := h.state("falcon")
		return s.Version == "1.0.0" && s.Phase == meta.PhaseIdle && s.Status == meta.StatusStarted
	})
	if s := h.state("falcon"); s.Reason != install.CodeWrongDigest {
		t.Errorf("status does not say what nobody was told yet: %+v", s.RealAgent)
	}
	for _, heartbeat := range []string{"first", "after a lost one"} {
		if a := h.reportAtOnce("falcon"); a.Reason != install.CodeWrongDigest || !strings.Contains(a.Error, "md5") {
			t.Errorf("the %s heartbeat does not say what went wrong: %+v", heartbeat, a)
		}
		if heartbeat == "first" {
			h.engine.Unheard()
		}
	}
	if a := h.reportAtOnce("falcon"); a.Reason != "" || a.Error != "" {
		t.Errorf("it is said again: %+v", a)
	}
}

// TestARefusedEntryDoesNotEndAnOperatorsRollback: what cannot be followed wants no other
// version.
func TestARefusedEntryDoesNotEndAnOperatorsRollback(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	h.apply(v2)
	h.runs("falcon", "1.0.1")
	must(t, h.engine.Rollback("falcon", "slow queries"))
	held := func(a meta.RealAgent) bool { return a.Version == "1.0.0" && a.Phase == meta.PhaseHeld }
	h.await("falcon", "went back", held)
	must(t, h.engine.Apply(plan.Desired{Dialect: meta.DialectV1, Refused: []meta.Rejected{{Name: "falcon", Reason: "its cmd is dance"}}}))
	h.await("falcon", "was refused", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "dance") })
	h.apply(v2)
	h.await("falcon", "stayed where it was", held)
	h.checkRunning("falcon", "1.0.0")
}

// TestI5WhatACrashLeftIsSweptAtTheNextStart: no transaction comes after it that would.
func TestI5WhatACrashLeftIsSweptAtTheNextStart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	h.halt()
	left := filepath.Join(h.agentDir("falcon"), ".staging-1.0.1-abc/control")
	agenttest.Write(t, left, "#!/bin/sh\n", 0o755)
	h.boot()
	h.apply(v1)
	until(t, "it is gone", func() bool { h.engine.Look(); return len(glob(t, h.agentDir("falcon")+"/.staging-*")) == 0 })
	h.checkRunning("falcon", "1.0.0")
}

// TestI5APartIsRemovedWhenNothingWantsItAnyMore: a download that failed leaves its part, to
// go on with, for as long as that version is wanted there.
func TestI5APartIsRemovedWhenNothingWantsItAnyMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		moves     bool
		meanwhile func(h *host)
	}{
		"of an upgrade": {},
		"of a move":     {moves: true},
		"of a move, and another process after it": {true, func(h *host) { h.halt(); h.boot() }},
		"of a move, and the journal is lost": {true, func(h *host) {
			h.halt()
			must(h.t, os.Remove(filepath.Join(h.cfg.VarDir, "journal/falcon.json")))
			h.boot()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			breaks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"a"`)
				w.Header().Set("Content-Length", "4096")
				_, _ = w.Write([]byte("the beginning"))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}))
			t.Cleanup(breaks.Close)
			h := newHost(t)
			v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			h.boot()
			h.apply(v1)
			h.runs("falcon", "1.0.0")
			v2 := v1
			v2.Version, v2.Tarball = "1.0.1", breaks.URL
			parts := filepath.Join(h.agentDir("falcon"), ".part-*")
			if c.moves {
				v2.WorkDir = filepath.Join(h.dir, "there")
				parts = filepath.Join(v2.WorkDir, "falcon/.part-*")
			}
			h.apply(v2)
			h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
			if len(glob(t, parts)) == 0 {
				t.Fatal("the download left no part")
			}
			if c.meanwhile != nil {
				c.meanwhile(h)
			}
			h.apply(v1)
			until(t, "the part is gone", func() bool { h.engine.Look(); return len(glob(t, parts)) == 0 })
			h.checkRunning("falcon", "1.0.0")
		})
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	must(t, err)
	return found
}
