package main

import (
	"fmt"
	"strings"
	"time"
)

func writeRow(b *strings.Builder, name string, r result) {
	fmt.Fprintf(b, "| %s | %.0f | %.1f | %.2f | %.2f | %d |\n", name, r.PerSecond(), inMicroseconds(r.cpuEach()), inMilliseconds(r.P50), inMilliseconds(r.P99), r.peak>>20)
}

func inMicroseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// compareTable shows a, b and c, and b beside a by the server's processor
// time, which other programs on the machine disturb least.
func compareTable(a, b, c result) string {
	var t strings.Builder
	t.WriteString("| | heartbeats/s | server CPU each, µs | p50, ms | p99, ms | peak RSS, MB |\n|---|---|---|---|---|---|\n")
	writeRow(&t, "a: bare net/http handler", a)
	writeRow(&t, "b: ops-meta, steady", b)
	writeRow(&t, "c: ops-meta, 1 % changed", c)
	fmt.Fprintf(&t, "\nb does %.0f %% of a by heartbeats/s, and %.0f %% by CPU (aim: at least 80 %%).\n",
		100*b.PerSecond()/a.PerSecond(), 100*float64(a.cpuEach())/float64(b.cpuEach()))
	return t.String()
}

// restart is what it took until the server was ready.
type restart struct{ took, cpu time.Duration }

// endured is what d showed.
type endured struct {
	fill     time.Duration
	restarts []restart
	rss      int64 // once all hosts were known, after a restart
	peak     int64
	result
}

func (e endured) String() string {
	var t strings.Builder
	fmt.Fprintf(&t, "\n| d | measured | aim |\n|---|---|---|\n")
	fmt.Fprintf(&t, "| first heartbeats of all hosts | %.0f/s | |\n", float64(e.countHosts())/e.fill.Seconds())
	for _, r := range e.restarts {
		fmt.Fprintf(&t, "| ready after a restart | %.1f s (%.1f s of CPU) | < 10 s |\n", r.took.Seconds(), r.cpu.Seconds())
	}
	fmt.Fprintf(&t, "| heartbeats/s | %.0f | |\n", e.PerSecond())
	fmt.Fprintf(&t, "| cores used by the server | %.2f | < 0.5 |\n", e.cpu.Seconds()/e.Elapsed.Seconds())
	fmt.Fprintf(&t, "| server CPU per heartbeat | %.1f µs | |\n", inMicroseconds(e.cpuEach()))
	fmt.Fprintf(&t, "| p50 | %.2f ms | |\n| p99 | %.2f ms | < 10 ms |\n| slowest | %.0f ms | |\n", inMilliseconds(e.P50), inMilliseconds(e.P99), inMilliseconds(e.Max))
	fmt.Fprintf(&t, "| p99 around the restarts | %.0f ms | |\n", inMilliseconds(e.DisturbedP99))
	fmt.Fprintf(&t, "| resident memory at the end | %d MB | < 700 MB |\n| at its peak | %d MB | |\n", e.rss>>20, e.peak>>20)
	fmt.Fprintf(&t, "| heartbeats that found no server | %d of %d | |\n", e.Errors, e.Heartbeats)
	return t.String()
}

func (e endured) countHosts() (n int) {
	for _, hosts := range e.Versions {
		n = max(n, hosts)
	}
	return n
}
