package plan_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func TestNoAgentLivesInAnothersDirectory(t *testing.T) {
	all := plan.Wishes(plan.Desired{Agents: []meta.DesiredAgent{
		{Name: "outer", Version: "1", Cmd: meta.CmdStart},
		{Name: "inner", Version: "1", Cmd: meta.CmdStart, WorkDir: "/srv/agents/outer/1"},
		{Name: "innermost", Version: "1", Cmd: meta.CmdStart, WorkDir: "/srv/agents/outer/1/inner"},
		{Name: "outer2", Version: "1", Cmd: meta.CmdStart},
		{Name: "beside", Version: "1", Cmd: meta.CmdStart, WorkDir: "/srv/agents/outerwear"},
		{Name: "var", Version: "1", Cmd: meta.CmdStart},
		{Name: "state", Version: "1", Cmd: meta.CmdStart, WorkDir: "/srv/agents/var"},
		{Name: "around", Version: "1", Cmd: meta.CmdStart, WorkDir: "/srv"},
	}}, plan.Place{WorkDir: "/srv/agents"}, "/srv/agents/var")
	for name, want := range map[string]string{
		"outer": "", "outer2": "", "beside": "", "around": "",
		"inner":     "its directory /srv/agents/outer/1/inner lies in /srv/agents/outer, which is that of agent outer",
		"innermost": "/srv/agents/outer",
		"var":       "of the sidecar (var_dir)",
		"state":     "of the sidecar (var_dir)",
	} {
		if got := all[name].Refused; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: refused with %q, want %q", name, got, want)
		}
	}
}
