package server

import (
	"fmt"
	"net/http"

	vm "github.com/VictoriaMetrics/metrics"
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
