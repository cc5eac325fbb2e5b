package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func TestTheOlderServersAddressesAnswerAsTheyDid(t *testing.T) {
	r := start(t, newConfig(t))
	r.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, body := range []string{
		`{"hostname":"lg-1","realAgents":[{"name":"falcon-agent","version":"5.1.3","status":"started\n","timestamp":1477380651}]}`,
		`{"hostname":"lg-2","realAgents":[{"name":"dinp-agent","version":"2.0.0","status":"stoped","timestamp":1477380651}]}`,
		`{"hostname":"lg-3","realAgents":[]}`,
	} {
		if got := r.raw(t, "POST", "/heartbeat", []byte(body)); got.StatusCode != http.StatusOK {
			t.Fatalf("heartbeat: %d %s", got.StatusCode, got.body)
		}
	}
	h, err := r.admin.Host(t.Context(), "lg-1")
	if err != nil {
		t.Fatal(err)
	}
	at := h.LastSeen.Unix()
	const text, jsonText = "text/plain; charset=utf-8", "application/json; charset=UTF-8"
	for path, c := range map[string]struct {
		status      int
		media, body string
	}{
		"/health":                   {200, text, "ok"},
		"/api/health/check":         {200, "application/json; charset=utf-8", `{"message":"ok","success":true}`},
		"/status/json/falcon-agent": {200, jsonText, fmt.Sprintf(`{"lg-1":{"name":"falcon-agent","version":"5.1.3","status":"started","timestamp":%d},"lg-2":null}`, at)},
		"/status/json/nobody":       {200, jsonText, `{"lg-1":null,"lg-2":null}`},
		"/status/text/falcon-agent": {200, text, fmt.Sprintf("lg-1 5.1.3 started %d %s\nlg-2 not found\n", at, time.Unix(at, 0).Format("2006-01-02 15:04:05"))},
		"/status/json/":             {400, text, "agent name is blank\n"},
		"/status/text/":             {400, text, "agent name is blank\n"},
	} {
		got := r.raw(t, "GET", path, nil, "Authorization", "")
		if got.StatusCode != c.status || string(got.body) != c.body || got.Header.Get("Content-Type") != c.media {
			t.Errorf("%s: got %d %s %q\nwant %d %s %q", path, got.StatusCode, got.Header.Get("Content-Type"), got.body, c.status, c.media, c.body)
		}
	}
	for _, path := range []string{"/version", "/api/version"} {
		if got := r.raw(t, "GET", path, nil, "Authorization", ""); got.StatusCode != 200 || len(got.body) == 0 || bytes.ContainsAny(got.body, "\n<") {
			t.Errorf("%s: got %d %q, want a bare version", path, got.StatusCode, got.body)
		}
	}
	for _, path := range []string{
		"/falcon/falcon-agent-1.0.0.tar.gz", "/releases/falcon-agent-1.0.0.tar.gz", "/releases/", "/api/", "/api/v2/hosts", "/api/workdir", "/workdir", "/config/reload", "/status/", "/user/login",
	} {
		got := r.raw(t, "GET", path, nil, "Accept", "*/*")
		if got.StatusCode != 404 || bytes.Contains(got.body, []byte("<")) {
			t.Errorf("%s: got %d to %q %q, want a plain 404", path, got.StatusCode, got.Header.Get("Location"), got.body)
		}
	}
	if got := r.raw(t, "GET", "/nowhere", nil, "Accept", "application/json"); got.StatusCode != 404 || !json.Valid(got.body) {
		t.Errorf("asked for JSON: got %d %q", got.StatusCode, got.body)
	}
}

// What the fleet runs is told to strangers only where heartbeats are open.
func TestTheOlderStatusNeedsATokenWhereHeartbeatsDo(t *testing.T) {
	conf := newConfig(t)
	conf.Heartbeats = server.HeartbeatsCredential
	r := start(t, conf)
	viewer, enrol := r.newToken(t, "look", api.RoleViewer, 0), r.newToken(t, "hosts", api.RoleEnroll, 0)
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"nobody":         {[]string{"Authorization", ""}, 401},
		"a wrong token":  {[]string{"Authorization", "Bearer wrong"}, 401},
		"an enrolment's": {[]string{"Authorization", "Bearer " + enrol.Secret}, 403},
		"a viewer":       {[]string{"Authorization", "Bearer " + viewer.Secret}, 200},
	} {
		if got := r.raw(t, "GET", "/status/json/falcon-agent", nil, c.header...); got.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", name, got.StatusCode, got.body, c.status)
		}
	}
}
