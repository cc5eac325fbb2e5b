package server_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func TestMetricsAreCleanUnderTheLinter(t *testing.T) {
	r := start(t, newConfig(t))
	r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", RealAgents: []meta.RealAgent{}})
	if _, err := r.admin.Agents(t.Context(), api.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	served := string(r.raw(t, "GET", "/metrics", nil).body)
	problems, err := promlint.New(strings.NewReader(served)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v in\n%s", problems, err, served)
	}
	for _, part := range []string{
		"# HELP ops_meta_hosts Hosts", "# TYPE ops_meta_heartbeats_total counter", "ops_meta_heartbeats_total 1",
		"# TYPE ops_meta_api_request_duration_seconds histogram",
		`ops_meta_api_request_duration_seconds_bucket{operation="listAgent",le="+Inf"} 1`,
		`ops_meta_api_requests_total{operation="listAgent",status="200"} 1`,
		`ops_meta_rollouts{state="paused"} 0`, `ops_meta_info{version="`, "process_resident_memory_bytes", "process_open_fds ", "process_max_fds ",
	} {
		if !strings.Contains(served, part) {
			t.Errorf("no %s in\n%s", part, served)
		}
	}
}
