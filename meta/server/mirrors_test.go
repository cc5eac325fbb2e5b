package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func TestMirrorsReachHosts(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, openConfig(t, conf))
		r.publish(t, "demo", "1.0")
		r.deploy(t, "demo", "1.0")
		ctx := t.Context()
		told := func() []string {
			t.Helper()
			reply, _ := r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", Protocol: meta.Protocol})
			if len(reply.DesiredAgents) != 1 {
				t.Fatalf("told %+v", reply)
			}
			return reply.DesiredAgents[0].Mirrors.List()
		}
		if got := told(); got != nil {
			t.Errorf("without any: %q", got)
		}
		agents := []string{"http://m1.example/f", "https://bob:s3cr3t@m2.example/f?sig=s1gn4tur3"}
		if _, err := r.admin.PatchAgent(ctx, "demo", api.Patch{"mirrors": agents}, 0); err != nil {
			t.Fatal(err)
		}
		if got := told(); !slices.Equal(got, agents) {
			t.Errorf("the agent's: %q", got)
		}
		everyone := api.Scope{Kind: api.ScopeEveryone}
		if _, err := r.admin.PatchAssignment(ctx, "demo", everyone, api.Patch{"mirrors": []string{"http://site.example"}}, 0); err != nil {
			t.Fatal(err)
		}
		if got := told(); !slices.Equal(got, []string{"http://site.example"}) {
			t.Errorf("the assignment's: %q", got)
		}
		if _, err := r.admin.PatchAssignment(ctx, "demo", everyone, api.Patch{"mirrors": nil}, 0); err != nil {
			t.Fatal(err)
		}
		if got := told(); !slices.Equal(got, agents) {
			t.Errorf("the agent's again: %q", got)
		}
		viewer, err := r.admin.CreateToken(ctx, api.NewToken{Name: "viewer", Role: api.RoleViewer})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/v1/agents/demo", "/api/v1/agents", "/api/v1/fleet", "/api/v1/audit"} {
			got := r.raw(t, "GET", path, nil, "Authorization", "Bearer "+viewer.Secret)
			if got.StatusCode != http.StatusOK || !strings.Contains(string(got.body), "m1.example") || strings.Contains(string(got.body), "s3cr3t") || strings.Contains(string(got.body), "s1gn4tur3") {
				t.Errorf("%s shows a viewer %d %s", path, got.StatusCode, got.body)
			}
		}
		for name, bad := range map[string][]string{
			"another scheme": {"ftp://m1.example"}, "none": {""}, "two in one": {"http://a.example\nhttp://b.example"},
			"too many": slices.Repeat([]string{"http://a.example"}, meta.MaxMirrors+1), "a hidden login": {"https://bob:xxxxx@m2.example/f"},
		} {
			if p := problem(second(r.admin.PatchAgent(ctx, "demo", api.Patch{"mirrors": bad}, 0))); p == nil || p.Status != http.StatusBadRequest || p.Field != "mirrors" {
				t.Errorf("%s: got %+v", name, p)
			}
		}
	})
}
