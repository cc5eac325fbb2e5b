package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// A list that is empty because what it was narrowed to does not exist would
// read as "there is none": it is refused with the nearest value that exists.
func TestAListIsNotNarrowedToWhatDoesNotExist(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		c, err := api.NewClient(api.ClientConfig{Server: r.url, Token: r.token})
		if err != nil {
			t.Fatal(err)
		}
		r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", RealAgents: []meta.RealAgent{{Name: "demo", Version: "0.9", Status: "started"}}})
		if _, err := c.PutAgent(t.Context(), api.Agent{Name: "demo"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutGroup(t.Context(), api.Group{Name: "canary", Selector: api.Selector{Prefixes: []string{"web-"}}}); err != nil {
			t.Fatal(err)
		}
		for _, refused := range []struct{ path, hint string }{
			{"hosts?agent=dmeo", "demo"},
			{"hosts?group=canari", "canary"},
			{"hosts?version=0.8", "0.9"},
			{"hosts?status=startd", "started"},
			{"hosts?phase=idel", "idle"},
			{"hosts?arch=linux_amd46", "linux_amd64"},
			{"hosts?agent=demo&status=startd", "started"},
			{"hosts/web-1/events?kind=verson", "version"},
			{"hosts/web-1/events?agent=dmeo", "demo"},
			{"rollouts?state=runnin", "running"},
			{"rollouts?agent=dmeo", "demo"},
			{"releases?agent=dmeo", "demo"},
			{"assignments?agent=dmeo", "demo"},
			{"assignments?scope=group:canari", "canary"},
			{"assignments?scope=host:web-2", "web-1"},
			{"holds?scope=group:canari", "canary"},
			{"holds?scope=agent:dmeo", "demo"},
			{"audit?kind=agnt", "agent"},
			{"audit?action=creat", "create"},
			{"audit?actor=admn", "admin"},
			{"history?agent=dmeo", "demo"},
		} {
			t.Run(refused.path, func(t *testing.T) {
				status, body := r.ask(t, refused.path)
				if status != http.StatusBadRequest || !strings.Contains(body, `did you mean \"`+refused.hint+`\"?`) {
					t.Errorf("answered %d: %s", status, body)
				}
			})
		}
		for _, path := range []string{
			"hosts?phase=probation", "hosts?agent=demo&version=0.9&failing=true", "hosts?arch=linux_arm64", "hosts?group=canary&silent=true",
			"hosts/web-1/events?kind=conflict", "rollouts?state=active&agent=demo", "releases?agent=demo", "assignments?scope=group:canary&agent=demo",
			"holds?scope=host:web-1", "audit?kind=strategy", "audit?action=abort", "audit?actor=admin&kind=rollout", "history?agent=demo",
		} {
			if status, body := r.ask(t, path); status != http.StatusOK {
				t.Errorf("%s: answered %d: %s", path, status, body)
			}
		}
	})
}

// ask is the answer to a question to the API.
func (r *running) ask(t *testing.T, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
