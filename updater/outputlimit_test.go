package updater_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// chatty writes about 10 MB a second into what control start gave it.
var chatty = agenttest.Habits{Output: "2>&1", App: `(while [ -e "$agent/1.0.0/var/app.pid" ]; do head -c 1000000 /dev/zero; sleep 0.1; done) 9>&- &`}

func TestI5ChattyAgentsDoNotFillTheDiskBetweenRoundsNorDuringADownload(t *testing.T) {
	h := newHost(t)
	h.cfg.CheckEvery = time.Minute // the agent itself must make it sooner
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", chatty))
	h.runs("falcon", "1.0.0")
	size := func() int64 {
		fi, err := os.Stat(filepath.Join(h.agentDir("falcon"), ".control.out"))
		must(t, err)
		return fi.Size()
	}
	// grew waits until the output was seen to shrink a few times, and says how
	// large it became.
	grew := func(cuts int) (largest int64) {
		last := size()
		for deadline := time.Now().Add(patience); cuts > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("the output has %d bytes and nobody cuts it", last)
			}
			now := size()
			if now < last {
				cuts--
			}
			last, largest = now, max(largest, now)
			time.Sleep(5 * time.Millisecond)
		}
		return largest
	}
	h.report("falcon") // the first look that can tell how much it writes
	grew(3)            // meanwhile the pace is found
	if largest := grew(3); largest > 64<<20 {
		t.Errorf("between two looks the output became %d bytes", largest)
	}
	gate := make(chan struct{})
	h.origin.mu.Lock()
	h.origin.gate = gate
	h.origin.mu.Unlock()
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	h.await("falcon", "waits for its download", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseDownloading })
	if largest := grew(3); largest > 64<<20 {
		t.Errorf("during a download the output became %d bytes", largest)
	}
	close(gate)
	h.runs("falcon", "1.0.1")
}
