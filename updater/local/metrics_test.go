package local_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

func TestMetricsAreCleanUnderTheLinter(t *testing.T) {
	d := daemon(nil, nil)
	status := d.Status(t.Context())
	status.Heartbeat.LastOK = time.Unix(2000, 0)
	status.Agents = append(status.Agents, meta.RealAgent{Name: "odd", Version: "a\"b\\c\n\u202e" + strings.Repeat("x", 1000)})
	d.Metrics.Heartbeat(time.Second, errors.New("x"))
	d.Metrics.Heartbeat(time.Millisecond, nil)
	d.Metrics.Transaction("upgrade", meta.PhaseRolledBack)
	served := metricsOf(t, d, status)
	problems, err := promlint.New(strings.NewReader(served)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v in\n%s", problems, err, served)
	}
	for _, line := range []string{
		"# TYPE ops_updater_heartbeat_duration_seconds histogram",
		`ops_updater_heartbeat_duration_seconds_bucket{le="0.01"} 1`,
		`ops_updater_heartbeat_duration_seconds_bucket{le="+Inf"} 2`,
		"ops_updater_heartbeat_last_success_timestamp_seconds 2000",
		"# TYPE process_resident_memory_bytes gauge",
		"# TYPE process_open_fds gauge",
	} {
		if !strings.Contains(served, line+"\n") {
			t.Errorf("no line %s in\n%s", line, served)
		}
	}
	for line := range strings.Lines(served) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes: %.100s", len(line), line)
		}
	}
}

func metricsOf(t *testing.T, d local.Daemon, status local.Status) string {
	t.Helper()
	d.Status = func(context.Context) local.Status { return status }
	w := httptest.NewRecorder()
	local.HTTP(d, local.HTTPConfig{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
