package local

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/ops-updater/ops-updater/internal/exposition"
	"github.com/ops-updater/ops-updater/meta"
)

// families are the sidecar's metrics; docs/OPERATING.md explains them.
var families = append([]exposition.Family{
	{Name: "ops_updater_info", Type: exposition.Gauge, Help: "1, with the sidecar's version."},
	{Name: "ops_updater_start_time_seconds", Type: exposition.Gauge, Help: "When the sidecar started, Unix time."},
	{Name: "ops_updater_heartbeats_total", Type: exposition.Counter, Help: "Heartbeats by result, ok or error."},
	{Name: "ops_updater_heartbeat_duration_seconds", Type: exposition.Histogram, Help: "How long heartbeats took."},
	{Name: "ops_updater_heartbeat_last_success_timestamp_seconds", Type: exposition.Gauge, Help: "When a heartbeat was last answered, Unix time."},
	{Name: "ops_updater_heartbeat_consecutive_failures", Type: exposition.Gauge, Help: "Heartbeats that failed in a row until now."},
	{Name: "ops_updater_heartbeat_interval_seconds", Type: exposition.Gauge, Help: "Time between heartbeats, as configured or as the server steers it."},
	{Name: "ops_updater_transactions_total", Type: exposition.Counter, Help: "Transactions by what they were and how they ended: idle (committed), failed, rolledBack."},
	{Name: "ops_updater_agent_info", Type: exposition.Gauge, Help: "1 for each agent, with its version, the wanted one and its phase."},
	{Name: "ops_updater_agent_started", Type: exposition.Gauge, Help: "Whether the agent says that it is started, 1 or 0."},
	{Name: "ops_updater_agent_error", Type: exposition.Gauge, Help: "Whether the agent has an error, 1 or 0."},
	{Name: "ops_updater_agent_held", Type: exposition.Gauge, Help: "Whether the agent is held on this host, 1 or 0."},
}, exposition.Process()...)

// beatBuckets are seconds: an answer from memory nearby, up to the time-out.
var beatBuckets = []float64{.01, .05, .1, .5, 1, 5, 10, 30}

// Metrics counts what happens in the sidecar. The library writes the
// Prometheus text format and nothing else; the official client would bring
// protobuf and a third of the sidecar's memory.
type Metrics struct {
	set      *metrics.Set
	beatOK   *metrics.Counter
	beatBad  *metrics.Counter
	beatTook *metrics.PrometheusHistogram // seconds
}

// NewMetrics makes an empty set.
func NewMetrics() *Metrics {
	s := metrics.NewSet()
	return &Metrics{
		set:      s,
		beatOK:   s.NewCounter(`ops_updater_heartbeats_total{result="ok"}`),
		beatBad:  s.NewCounter(`ops_updater_heartbeats_total{result="error"}`),
		beatTook: s.NewPrometheusHistogramExt(`ops_updater_heartbeat_duration_seconds`, beatBuckets),
	}
}

// Heartbeat counts one heartbeat.
func (m *Metrics) Heartbeat(took time.Duration, err error) {
	m.beatTook.Update(took.Seconds())
	if err != nil {
		m.beatBad.Inc()
		return
	}
	m.beatOK.Inc()
}

// Transaction counts one transaction by what it was and how it ended: idle
// when it was committed, otherwise failed or rolledBack.
func (m *Metrics) Transaction(act string, phase meta.Phase) {
	m.set.GetOrCreateCounter(`ops_updater_transactions_total` + exposition.Labels("act", act, "ended", string(phase))).Inc()
}

// write shows the counters and, asked now, the state.
func (m *Metrics) write(w io.Writer, s Status) error {
	var all bytes.Buffer
	m.set.WritePrometheus(&all)
	metrics.WriteProcessMetrics(&all)
	metrics.WriteFDMetrics(&all)
	writeGauge(&all, "info", 1, "version", s.Version)
	writeGauge(&all, "start_time_seconds", float64(s.Started.Unix()))
	writeGauge(&all, "heartbeat_interval_seconds", s.Heartbeat.Interval)
	writeGauge(&all, "heartbeat_consecutive_failures", float64(s.Heartbeat.Failures))
	if !s.Heartbeat.LastOK.IsZero() {
		writeGauge(&all, "heartbeat_last_success_timestamp_seconds", float64(s.Heartbeat.LastOK.UnixMilli())/1000)
	}
	for _, a := range s.Agents {
		writeGauge(&all, "agent_info", 1, "agent", a.Name, "version", a.Version, "desired", a.DesiredVersion, "phase", string(a.Phase))
		writeGauge(&all, "agent_started", truthValue(a.Status == meta.StatusStarted), "agent", a.Name)
		writeGauge(&all, "agent_error", truthValue(a.Error != ""), "agent", a.Name)
		writeGauge(&all, "agent_held", truthValue(a.Held), "agent", a.Name)
	}
	return exposition.Write(w, families, all.Bytes())
}

func writeGauge(w io.Writer, name string, value float64, labels ...string) {
	_, _ = fmt.Fprintf(w, "ops_updater_%s%s %g\n", name, exposition.Labels(labels...), value)
}

func truthValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
