package local

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/ops-updater/ops-updater/meta"
)

// Metrics counts what happens in the sidecar. The library writes the
// Prometheus text format and nothing else; the official client would bring
// protobuf and a third of the sidecar's memory.
type Metrics struct {
	set      *metrics.Set
	beatOK   *metrics.Counter
	beatBad  *metrics.Counter
	beatTook *metrics.FloatCounter // seconds, all of them
}

// NewMetrics makes an empty set.
func NewMetrics() *Metrics {
	s := metrics.NewSet()
	return &Metrics{
		set:      s,
		beatOK:   s.NewCounter(`ops_updater_heartbeats_total{result="ok"}`),
		beatBad:  s.NewCounter(`ops_updater_heartbeats_total{result="error"}`),
		beatTook: s.NewFloatCounter(`ops_updater_heartbeat_duration_seconds_sum`),
	}
}

// Heartbeat counts one heartbeat.
func (m *Metrics) Heartbeat(took time.Duration, err error) {
	m.beatTook.Add(took.Seconds())
	if err != nil {
		m.beatBad.Inc()
		return
	}
	m.beatOK.Inc()
}

// Transaction counts one transaction by what it was and how it ended: idle
// when it was committed, otherwise failed or rolledBack.
func (m *Metrics) Transaction(act string, phase meta.Phase) {
	m.set.GetOrCreateCounter(fmt.Sprintf(`ops_updater_transactions_total{act=%q,ended=%q}`, act, phase)).Inc()
}

// write shows the counters and, asked now, the state.
func (m *Metrics) write(w io.Writer, s Status) {
	m.set.WritePrometheus(w)
	gauge(w, "info", fmt.Sprintf("version=%q", s.Version), 1)
	gauge(w, "start_time_seconds", "", float64(s.Started.Unix()))
	gauge(w, "heartbeat_interval_seconds", "", s.Heartbeat.Interval)
	gauge(w, "heartbeat_failures", "", float64(s.Heartbeat.Failures))
	if !s.Heartbeat.LastOK.IsZero() {
		gauge(w, "heartbeat_last_success_seconds", "", float64(s.Heartbeat.LastOK.UnixMilli())/1000)
	}
	for _, a := range s.Agents {
		name := fmt.Sprintf("agent=%q", a.Name)
		gauge(w, "agent_info", name+fmt.Sprintf(",version=%q,desired=%q,phase=%q", a.Version, a.DesiredVersion, a.Phase), 1)
		gauge(w, "agent_started", name, truth(a.Status == "started"))
		gauge(w, "agent_error", name, truth(a.Error != ""))
		gauge(w, "agent_held", name, truth(a.Held))
	}
	writeProcess(w)
}

// writeProcess shows the handful of process metrics that alerts are made of,
// of the hundreds that the library knows.
func writeProcess(w io.Writer) {
	var all bytes.Buffer
	metrics.WriteProcessMetrics(&all)
	for line := range strings.Lines(all.String()) {
		name, _, _ := strings.Cut(line, " ")
		switch name {
		case "process_resident_memory_bytes", "process_resident_memory_anon_bytes", "process_cpu_seconds_total",
			"process_open_fds", "process_start_time_seconds", "go_goroutines", "go_memstats_heap_inuse_bytes":
			_, _ = io.WriteString(w, line)
		}
	}
}

func gauge(w io.Writer, name, labels string, value float64) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	_, _ = fmt.Fprintf(w, "ops_updater_%s%s %g\n", name, labels, value)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
