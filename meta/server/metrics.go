package server

import (
	"bytes"
	"net/http"
	"strconv"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/exposition"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
)

// families are the server's metrics; docs/SERVER.md explains them.
var families = append([]exposition.Family{
	{Name: "ops_meta_info", Type: exposition.Gauge, Help: "1, with the server's version."},
	{Name: "ops_meta_hosts", Type: exposition.Gauge, Help: "Hosts that have ever sent a heartbeat."},
	{Name: "ops_meta_hosts_failing", Type: exposition.Gauge, Help: "Hosts where an agent failed, was rolled back or has an error."},
	{Name: "ops_meta_hosts_silent", Type: exposition.Gauge, Help: "Hosts that were not heard of for three intervals."},
	{Name: "ops_meta_hosts_drifted", Type: exposition.Gauge, Help: "Hosts where a version is not the wanted one."},
	{Name: "ops_meta_rollouts", Type: exposition.Gauge, Help: "Rollouts in force by state."},
	{Name: "ops_meta_config_serial", Type: exposition.Gauge, Help: "Number of the configuration that hosts are told; it grows with each change."},
	{Name: "ops_meta_backlog_hosts", Type: exposition.Gauge, Help: "Hosts whose changes wait to be written to the database."},
	{Name: "ops_meta_journal_failing", Type: exposition.Gauge, Help: "Whether changes of hosts cannot be written now, 1 or 0."},
	{Name: "ops_meta_heartbeats_total", Type: exposition.Counter, Help: "Heartbeats."},
	{Name: "ops_meta_heartbeats_steady_total", Type: exposition.Counter, Help: "Heartbeats that said the same as before and were answered without a look at them."},
	{Name: "ops_meta_heartbeats_unchanged_total", Type: exposition.Counter, Help: "Heartbeats that were answered with 304."},
	{Name: "ops_meta_heartbeats_refused_total", Type: exposition.Counter, Help: "Heartbeats that were refused."},
	{Name: "ops_meta_api_requests_total", Type: exposition.Counter, Help: "Requests to the API by operation and status."},
	{Name: "ops_meta_api_request_duration_seconds", Type: exposition.Histogram, Help: "How long requests to the API took, by operation."},
}, exposition.Process()...)

// requestBuckets are seconds: an answer from memory, up to a backup.
var requestBuckets = []float64{.001, .005, .025, .1, .5, 2.5, 10, 60}

// metrics is what /metrics shows.
type metrics struct{ set *vm.Set }

func newMetrics(b *backend.Backend) *metrics {
	m := &metrics{set: vm.NewSet()}
	gauge := func(name string, f func() float64) { m.set.NewGauge(name, f) }
	gauge("ops_meta_info"+exposition.Labels("version", buildinfo.Version()), func() float64 { return 1 })
	gauge("ops_meta_hosts", func() float64 { return float64(b.Fleet().Hosts()) })
	gauge("ops_meta_hosts_failing", func() float64 { return float64(b.Fleet().Overview().Failing) })
	gauge("ops_meta_hosts_silent", func() float64 { return float64(b.Fleet().Overview().Silent) })
	gauge("ops_meta_hosts_drifted", func() float64 { return float64(b.Fleet().Overview().Drifted) })
	gauge("ops_meta_config_serial", func() float64 { return float64(b.Fleet().Snapshot().Serial()) })
	gauge("ops_meta_backlog_hosts", func() float64 { n, _ := b.Fleet().Backlog(); return float64(n) })
	gauge("ops_meta_journal_failing", func() float64 {
		if _, failing := b.Fleet().Backlog(); failing {
			return 1
		}
		return 0
	})
	for _, state := range []api.RolloutState{
		api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutRunning, api.RolloutPaused, api.RolloutInconclusive, api.RolloutRollingBack,
	} {
		gauge("ops_meta_rollouts"+exposition.Labels("state", string(state)), func() float64 { return float64(b.RolloutsIn(state)) })
	}
	return m
}

// countHeartbeats counts them from the handler's own counters.
func (m *metrics) countHeartbeats(h *heartbeat.Handler) {
	count := func(name string, f func(heartbeat.Counts) int64) {
		m.set.NewGauge(name, func() float64 { return float64(f(h.Counts())) })
	}
	count("ops_meta_heartbeats_total", func(c heartbeat.Counts) int64 { return c.All })
	count("ops_meta_heartbeats_steady_total", func(c heartbeat.Counts) int64 { return c.Steady })
	count("ops_meta_heartbeats_unchanged_total", func(c heartbeat.Counts) int64 { return c.Unchanged })
	count("ops_meta_heartbeats_refused_total", func(c heartbeat.Counts) int64 { return c.Refused })
}

// countRequest counts a finished API request.
func (m *metrics) countRequest(operation string, status int, seconds float64) {
	m.set.GetOrCreateCounter("ops_meta_api_requests_total" + exposition.Labels("operation", operation, "status", strconv.Itoa(status))).Inc()
	if operation != "follow" {
		m.set.GetOrCreatePrometheusHistogramExt("ops_meta_api_request_duration_seconds"+exposition.Labels("operation", operation), requestBuckets).Update(seconds)
	}
}

func (m *metrics) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	var all bytes.Buffer
	m.set.WritePrometheus(&all)
	vm.WriteProcessMetrics(&all)
	vm.WriteFDMetrics(&all)
	w.Header().Set("Content-Type", exposition.ContentType)
	_ = exposition.Write(w, families, all.Bytes())
}
