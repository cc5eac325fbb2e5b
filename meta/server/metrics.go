package server

import (
	"fmt"
	"net/http"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
)

// metrics is what /metrics shows.
type metrics struct{ set *vm.Set }

func newMetrics(c *core) *metrics {
	m := &metrics{set: vm.NewSet()}
	gauge := func(name string, f func() float64) { m.set.NewGauge(name, f) }
	gauge("opsmeta_hosts", func() float64 { return float64(c.fleet.Hosts()) })
	gauge("opsmeta_hosts_failing", func() float64 { return float64(c.fleet.Overview().Failing) })
	gauge("opsmeta_hosts_silent", func() float64 { return float64(c.fleet.Overview().Silent) })
	gauge("opsmeta_hosts_drifted", func() float64 { return float64(c.fleet.Overview().Drifted) })
	gauge("opsmeta_serial", func() float64 { return float64(c.fleet.Snapshot().Serial()) })
	gauge("opsmeta_backlog_hosts", func() float64 { n, _ := c.fleet.Backlog(); return float64(n) })
	gauge("opsmeta_journal_failing", func() float64 {
		if _, failing := c.fleet.Backlog(); failing {
			return 1
		}
		return 0
	})
	return m
}

// heartbeats counts them from the handler's own counters.
func (m *metrics) heartbeats(h *heartbeat.Handler) {
	count := func(name string, f func(heartbeat.Counts) int64) {
		m.set.NewGauge(name, func() float64 { return float64(f(h.Counts())) })
	}
	count("opsmeta_heartbeats_total", func(c heartbeat.Counts) int64 { return c.All })
	count("opsmeta_heartbeats_steady_total", func(c heartbeat.Counts) int64 { return c.Steady })
	count("opsmeta_heartbeats_unchanged_total", func(c heartbeat.Counts) int64 { return c.Unchanged })
	count("opsmeta_heartbeats_refused_total", func(c heartbeat.Counts) int64 { return c.Refused })
}

// request counts a finished API request.
func (m *metrics) request(operation string, status int, seconds float64) {
	m.set.GetOrCreateCounter(fmt.Sprintf(`opsmeta_api_requests_total{operation=%q,status="%d"}`, operation, status)).Inc()
	if operation != "follow" {
		m.set.GetOrCreateHistogram(fmt.Sprintf(`opsmeta_api_request_seconds{operation=%q}`, operation)).Update(seconds)
	}
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.set.WritePrometheus(w)
	vm.WriteProcessMetrics(w)
}
