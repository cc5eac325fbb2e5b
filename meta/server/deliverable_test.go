package server_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// What no host of a scope can have is not assigned to it, whichever way that is
// said: a rollout of it is refused by the same rule.
func TestWhatNoHostCanHaveIsNotAssigned(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.publish(t, "demo", "1.0") // for linux_amd64
		r.publish(t, "demo", "2.0")
		if _, err := r.admin.PutReleaseNotes(t.Context(), "demo", "3.0", "to come"); err != nil {
			t.Fatal(err)
		}
		for host, arch := range map[string]string{"arm-1": "linux_arm64", "arm-2": "linux_arm64", "pi-1": "linux_arm64", "amd-1": "linux_amd64", "old-1": ""} {
			if _, code := r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: host, Arch: arch}); code != 200 {
				t.Fatalf("heartbeat of %s: %d", host, code)
			}
		}
		if _, err := r.admin.PutGroup(t.Context(), api.Group{Name: "arm", Selector: api.Selector{Globs: []string{"arm-*"}}}); err != nil {
			t.Fatal(err)
		}
		host := func(name string) api.Scope { return api.Scope{Kind: api.ScopeHost, Name: name} }
		arm := api.Scope{Kind: api.ScopeGroup, Name: "arm"}
		for name, c := range map[string]struct {
			scope   api.Scope
			version string
			cmd     string
			refused string
		}{
			"a group of another arch":       {arm, "1.0", "", ": no artifact for 2 hosts of linux_arm64; there is one for linux_amd64"},
			"a host of another arch":        {host("arm-1"), "1.0", "", "no host of host:arm-1 can have demo "},
			"without any artifact":          {host("amd-1"), "3.0", "", "no host of host:amd-1 can have demo 3.0"},
			"one of the hosts can":          {api.Scope{Kind: api.ScopeEveryone}, "1.0", "", ""},
			"the arch is not known":         {host("old-1"), "1.0", "", ""},
			"a host that was not seen yet":  {host("new-1"), "1.0", "", ""},
			"stopped, which needs no bytes": {host("pi-1"), "1.0", meta.CmdStop, ""},
		} {
			t.Run(name, func(t *testing.T) {
				as := api.Assignment{Agent: "demo", Version: c.version, Scope: c.scope, Cmd: c.cmd}
				says := func(how string, err error) {
					t.Helper()
					p := problem(err)
					switch {
					case c.refused == "" && err != nil:
						t.Errorf("%s: %v", how, err)
					case c.refused != "" && (p == nil || p.Status != 400 || p.Field != "version" || !strings.Contains(p.Detail, c.refused) || !strings.Contains(p.Hint, "--force")):
						t.Errorf("%s: got %+v, %v; want %q", how, p, err, c.refused)
					}
				}
				says("a dry run", second(r.admin.Assign(t.Context(), as, api.AssignOptions{DryRun: true})))
				says("put", second(r.admin.PutAssignment(t.Context(), as)))
				if c.cmd == "" && c.version != "3.0" {
					says("a rollout", second(r.admin.CreateRollout(t.Context(), api.NewRollout{Agent: "demo", Version: "2.0", Scope: c.scope, Draft: true})))
				}
			})
		}
		before, err := r.admin.Assign(t.Context(), api.Assignment{Agent: "demo", Version: "1.0", Scope: arm}, api.AssignOptions{Force: true})
		if err != nil {
			t.Fatalf("forced: %v", err)
		}
		if p := problem(second(r.admin.PatchAssignment(t.Context(), "demo", arm, api.Patch{"version": "2.0"}, before.Revision))); p == nil || !strings.Contains(p.Detail, "no host of group:arm") {
			t.Errorf("a patch: got %+v", p)
		}
		if after, err := r.admin.PatchAssignment(t.Context(), "demo", arm, api.Patch{"keep": 3}, before.Revision); err != nil || after.Version != "1.0" || after.Keep != 3 {
			t.Errorf("a patch of something else: %+v, %v", after, err)
		}
	})
}
