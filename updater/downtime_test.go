package updater_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// BenchmarkDowntime measures how long an agent is down during an upgrade, from
// its own log: from the moment the old application notes that it goes down to
// the moment the new one notes that it is up. The same stop and start by a
// shell loop, on the same versions, is measured in the same run; the difference
// is ours.
//
//	go test ./updater -run none -bench Downtime -benchtime 20x
func BenchmarkDowntime(b *testing.B) {
	h := newHost(b)
	h.cfg.Probation = 50 * time.Millisecond
	h.boot()
	v1 := h.origin.publish(b, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(b, "falcon", "1.0.1", agenttest.Habits{})
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	var ours, bare time.Duration
	b.ResetTimer()
	for range b.N {
		h.apply(v2)
		h.runs("falcon", "1.0.1")
		h.apply(v1)
		h.runs("falcon", "1.0.0")
	}
	b.StopTimer()
	ours = meanGap(b, h.agentDir("falcon"), 0)
	h.halt()
	before := len(agenttest.Events(b, h.agentDir("falcon")))
	for range b.N {
		switchByShell(b, h.agentDir("falcon"), "1.0.0", "1.0.1")
		switchByShell(b, h.agentDir("falcon"), "1.0.1", "1.0.0")
	}
	bare = meanGap(b, h.agentDir("falcon"), before-1)
	b.ReportMetric(ms(ours), "ms-down/upgrade")
	b.ReportMetric(ms(bare), "ms-down/shell")
	b.ReportMetric(ms(ours-bare), "ms-ours/upgrade")
	if ours-bare > 100*time.Millisecond {
		b.Errorf("an upgrade adds %v to the agent's own stop and start; the goal is under 100ms", ours-bare)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// meanGap is the mean time between a down and the next up, in the events from
// the given one on.
func meanGap(b *testing.B, dir string, from int) time.Duration {
	b.Helper()
	var sum time.Duration
	n := 0
	events := agenttest.Events(b, dir)[from:]
	for i := 1; i < len(events); i++ {
		if events[i-1].What == "down" && events[i].What == "up" {
			sum += time.Duration(events[i].Nanos - events[i-1].Nanos)
			n++
		}
	}
	if n == 0 {
		b.Fatal("the agent was never down")
	}
	return sum / time.Duration(n)
}

// switchByShell is the least that a careful script would do.
func switchByShell(b *testing.B, dir, from, to string) {
	b.Helper()
	script := fmt.Sprintf(`
		./%[1]s/control stop >/dev/null
		while [ "$(./%[1]s/control status)" != stoped ]; do sleep 0.02; done
		./%[2]s/control start >/dev/null
		while [ "$(./%[2]s/control status)" != started ]; do sleep 0.02; done`, from, to)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = filepath.Clean(dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	deadline := time.Now().Add(patience)
	for len(agenttest.Running(b, dir)) != 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}
