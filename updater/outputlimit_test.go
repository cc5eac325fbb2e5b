package updater_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// chatty writes 32 MB into what control start gave it whenever it is told to.
var chatty = agenttest.Habits{Output: "2>&1", App: `
(cd "$agent/1.0.0/var" && while [ -e app.pid ]; do
	if [ -e write ]; then rm write; head -c 32000000 /dev/zero; touch written; fi
	sleep 0.05
done) 9>&- &`}

// The agent begins to write at a moment at which nothing else happens
// to the agent for an hour, and while a download keeps its keeper.
func TestI5ChattyAgentsDoNotFillTheDiskBetweenRoundsNorDuringADownload(t *testing.T) {
	h := newHost(t)
	h.cfg.CheckEvery, h.cfg.ConfigEvery = time.Hour, time.Hour
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", chatty))
	h.runs("falcon", "1.0.0")
	writesAndIsCut := func(when string) {
		t.Helper()
		state := filepath.Join(h.agentDir("falcon"), "1.0.0", "var")
		must(t, os.WriteFile(filepath.Join(state, "write"), nil, 0o644))
		until(t, "the agent wrote "+when, func() bool { return os.Remove(filepath.Join(state, "written")) == nil })
		until(t, "its output was cut "+when, func() bool {
			fi, err := os.Stat(filepath.Join(h.agentDir("falcon"), ".control.out"))
			return err == nil && fi.Size() < 2<<20
		})
	}
	writesAndIsCut("between two rounds")
	writesAndIsCut("once more")
	gate := make(chan struct{})
	h.origin.mu.Lock()
	h.origin.gate = gate
	h.origin.mu.Unlock()
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	h.await("falcon", "waits for its download", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseDownloading })
	writesAndIsCut("during a download")
	close(gate)
	h.runs("falcon", "1.0.1")
}
