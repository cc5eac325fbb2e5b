package server_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

var (
	canary, prod = api.Scope{Kind: api.ScopeGroup, Name: "canary"}, api.Scope{Kind: api.ScopeGroup, Name: "prod"}
	toEveryone   = api.Scope{Kind: api.ScopeEveryone}
)

func host(name string) api.Scope { return api.Scope{Kind: api.ScopeHost, Name: name} }

// startTeams runs a server with two agents, two groups by label, a host of each, and
// a rollout of each agent to each group.
func startTeams(t *testing.T, conf server.Config) *running {
	t.Helper()
	r := start(t, conf)
	for _, agent := range []string{"falcon-a", "other"} {
		r.publish(t, agent, "1.0")
		r.publish(t, agent, "2.0")
	}
	for _, group := range []string{"canary", "prod"} {
		_, err := r.admin.PutGroup(t.Context(), api.Group{Name: group, Selector: api.Selector{Labels: map[string]string{"stage": group}}})
		if err != nil {
			t.Fatal(err)
		}
		r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "h-" + group, Arch: "linux_amd64", Labels: map[string]string{"stage": group}})
	}
	return r
}

// someRollout makes a draft, as an admin.
func (r *running) someRollout(t *testing.T, agent string, scope api.Scope) string {
	t.Helper()
	made, err := r.admin.CreateRollout(t.Context(), api.NewRollout{Agent: agent, Version: "2.0", Scope: scope, Draft: true})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

const outside = "urn:ops-meta:outsideRemit"

// TestATeamChangesWhatItsRemitCovers and nothing else, by whichever call.
func TestATeamChangesWhatItsRemitCovers(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := startTeams(t, conf)
		token, err := r.admin.CreateToken(t.Context(), api.NewToken{Name: "team-a", Role: api.RoleOperator, Remits: api.Remits{"falcon-*@canary", "tool@*", "*@lab"}})
		if err != nil {
			t.Fatal(err)
		}
		team := r.as(t, token.Secret)
		if who, err := team.WhoAmI(t.Context()); err != nil || who.Remits.String() != "falcon-*@canary, tool@*, *@lab" {
			t.Errorf("whoami: %+v, %v", who, err)
		}
		mine, others := r.someRollout(t, "falcon-a", canary), r.someRollout(t, "falcon-a", prod)
		theirHold, err := r.admin.CreateHold(t.Context(), api.Hold{Scope: prod, Reason: "theirs"})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		assign := func(agent string, scope api.Scope) error {
			return second(team.PutAssignment(ctx, api.Assignment{Agent: agent, Version: "1.0", Scope: scope}))
		}
		hold := func(scope api.Scope) error {
			return second(team.CreateHold(ctx, api.Hold{Scope: scope, Reason: "because"}))
		}
		upload := func(agent string) error {
			return second(team.Upload(ctx, api.Upload{Agent: agent, Version: "3.0", Arch: "linux_amd64", Tarball: bytes.NewReader(tarball(t, map[string]string{"v": "3"}))}))
		}
		for _, c := range []struct {
			name string
			err  error
			says string // empty: it is done
		}{
			{"begin a rollout", second(team.ActOnRollout(ctx, mine, api.ActionApprove, api.RolloutAction{})), ""},
			{"pause it", second(team.ActOnRollout(ctx, mine, api.ActionPause, api.RolloutAction{})), ""},
			{"abort it", second(team.ActOnRollout(ctx, mine, api.ActionAbort, api.RolloutAction{})), ""},
			{"deploy to the group", assign("falcon-a", canary), ""},
			{"to a host of it", assign("falcon-a", host("h-canary")), ""},
			{"to a host of another group", assign("falcon-a", host("h-prod")), "create assignment falcon-a/host/h-prod: that takes a remit for agent falcon-a on host h-prod"},
			{"to a host that nobody knows", assign("falcon-a", host("h-new")), "agent falcon-a on host h-new"},
			{"to another group", assign("falcon-a", prod), "agent falcon-a on group prod, and team-a has falcon-*@canary, tool@*, *@lab"},
			{"to everyone", assign("falcon-a", toEveryone), "agent falcon-a on everyone"},
			{"another agent", assign("other", canary), "agent other on group canary"},
			{"take it away", team.DeleteAssignment(ctx, "falcon-a", host("h-canary"), 0), ""},
			{"roll out to another group", second(team.CreateRollout(ctx, api.NewRollout{Agent: "falcon-a", Version: "1.0", Scope: prod})), "create rollout"},
			{"try to", second(team.TryRollout(ctx, api.NewRollout{Agent: "falcon-a", Version: "1.0", Scope: prod})), "agent falcon-a on group prod"},
			{"begin another's", second(team.ActOnRollout(ctx, others, api.ActionApprove, api.RolloutAction{})), "may not approve rollout " + others},
			{"abort another's", second(team.ActOnRollout(ctx, others, api.ActionAbort, api.RolloutAction{})), "may not abort rollout " + others},
			{"hold every agent of a group", hold(canary), "every agent on group canary"},
			{"hold an agent everywhere", hold(api.Scope{Kind: api.ScopeAgent, Name: "falcon-a"}), "agent falcon-a on everyone"},
			{"release another's hold", team.DeleteHold(ctx, theirHold.ID), "every agent on group prod"},
			{"publish an agent everywhere", upload("tool"), ""},
			{"publish one in a group", upload("falcon-a"), "agent falcon-a on everyone"},
			{"write release notes", second(team.PutReleaseNotes(ctx, "falcon-a", "9.0", "x")), "agent falcon-a on everyone"},
			{"change an agent", second(team.PutAgent(ctx, api.Agent{Name: "falcon-a", Keep: 3})), "agent falcon-a on everyone"},
			{"move a channel", second(team.PutChannel(ctx, api.Channel{Agent: "falcon-a", Name: "stable", Version: "1.0"}, false)), "agent falcon-a on everyone"},
			{"move its own channel", second(team.PutChannel(ctx, api.Channel{Agent: "tool", Name: "stable", Version: "3.0"}, false)), ""},
			{"make a group", second(team.PutGroup(ctx, api.Group{Name: "lab", Selector: api.Selector{Prefixes: []string{"h"}}})), "may not PUT /api/v1/groups/lab"},
			{"make a strategy", second(team.PutStrategy(ctx, api.Strategy{Name: "s", Stages: []api.Stage{{Percent: 100}}})), "for operators without remits"},
			{"a schedule of its own", second(team.PutSchedule(ctx, api.Schedule{Name: "mine", Channel: "stable", Agents: []string{"falcon-a"}, Scope: canary})), ""},
			{"one for everyone", second(team.PutSchedule(ctx, api.Schedule{Name: "mine", Channel: "stable", Agents: []string{"falcon-a"}})), "agent falcon-a on everyone"},
			{"a target of notices", second(team.PutNotifyTarget(ctx, api.NotifyTarget{Name: "n", Kind: "webhook", URL: "http://127.0.0.1:1/"})), "for operators without remits"},
			{"forget a host", team.DeleteHost(ctx, "h-canary"), "may not DELETE /api/v1/hosts/h-canary"},
			{"make a token", second(team.CreateToken(ctx, api.NewToken{Name: "x", Role: api.RoleViewer})), "has the role operator"},
			{"look", second(team.Explain(ctx, "h-prod")), ""},
		} {
			p := problem(c.err)
			switch {
			case c.says == "" && c.err != nil:
				t.Errorf("%s: %v", c.name, c.err)
			case c.says != "" && (p == nil || p.Status != http.StatusForbidden || !strings.Contains(p.Detail, c.says) || p.Hint == ""):
				t.Errorf("%s: got %+v, want a 403 that says %q", c.name, c.err, c.says)
			case c.says != "" && c.name != "make a token" && p.Type != outside:
				t.Errorf("%s: the problem is of type %s", c.name, p.Type)
			}
		}
		if rel, err := r.admin.Releases(ctx, api.ListOptions{Agent: "falcon-a"}); err != nil || len(rel.Items) != 2 {
			t.Errorf("releases of falcon-a: %+v, %v", rel.Items, err)
		}
	})
}

// A file is applied when all that it changes is within the remits, and else not at all.
func TestAFleetFileIsAppliedWithinTheRemits(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := startTeams(t, conf)
		token, err := r.admin.CreateToken(t.Context(), api.NewToken{Name: "team-a", Role: api.RoleOperator, Remits: api.Remits{"falcon-*@canary"}})
		if err != nil {
			t.Fatal(err)
		}
		team := r.as(t, token.Secret)
		assigned := func() (names []string) {
			all, err := r.admin.Assignments(t.Context(), api.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range all.Items {
				names = append(names, a.Agent+" "+a.Version+" "+a.Scope.String())
			}
			slices.Sort(names)
			return names
		}
		const within = "assignments:\n  - {agent: falcon-a, scope: {kind: group, name: canary}, version: \"1.0\"}\n"
		const beyond = within + "  - {agent: other, scope: {kind: group, name: canary}, version: \"1.0\"}\n"
		for _, dry := range []bool{true, false} {
			err := second(team.ApplyFleet(t.Context(), []byte(beyond), api.ApplyOptions{DryRun: dry}))
			if p := problem(err); p == nil || p.Type != outside || !strings.Contains(p.Detail, "create assignment other/group/canary") {
				t.Errorf("beyond the remit, dry run %v: %v", dry, err)
			}
		}
		if got := assigned(); len(got) != 0 {
			t.Errorf("a file that was refused left %q", got)
		}
		if _, err := team.ApplyFleet(t.Context(), []byte(within), api.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := assigned(); len(got) != 1 || got[0] != "falcon-a 1.0 group:canary" {
			t.Errorf("assigned are %q", got)
		}
		// The same with all that there is: what others said is in the file, and not in
		// what it changes.
		r.deploy(t, "other", "1.0")
		file, err := team.ExportFleet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := second(team.ApplyFleet(t.Context(), file, api.ApplyOptions{})); err != nil {
			t.Errorf("what is there already: %v", err)
		}
		groups := strings.Replace(string(file), "stage: prod", "stage: other", 1)
		if p := problem(second(team.ApplyFleet(t.Context(), []byte(groups), api.ApplyOptions{}))); p == nil || p.Type != outside || !strings.Contains(p.Detail, "update group prod") {
			t.Errorf("a group in the file: %+v", p)
		}
	})
}

// A person has the remits of their login, which ends when they are said anew.
func TestAPersonHasRemits(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := startTeams(t, conf)
		put := func(u api.User) error { return second(r.admin.PutUser(t.Context(), u)) }
		for name, c := range map[string]struct {
			role   api.Role
			remits api.Remits
			says   string
		}{
			"of a viewer":     {api.RoleViewer, api.Remits{"a@b"}, "the role viewer has none"},
			"of an admin":     {api.RoleAdmin, api.Remits{"a@b"}, "the role admin has none"},
			"without a group": {api.RoleOperator, api.Remits{"falcon-*"}, `has no @: want AGENTS@GROUP, such as falcon-*@* for every host`},
			"an empty agent":  {api.RoleOperator, api.Remits{"@canary"}, "begins with no name of an agent"},
			"two stars":       {api.RoleOperator, api.Remits{"**@canary"}, "begins with no name of an agent"},
			"a pattern group": {api.RoleOperator, api.Remits{"a@can*"}, "ends with no name of a group"},
			"an empty group":  {api.RoleOperator, api.Remits{"a@"}, "ends with no name of a group"},
			"two groups":      {api.RoleOperator, api.Remits{"a@b@c"}, "ends with no name of a group"},
			"another pattern": {api.RoleOperator, api.Remits{"a?@b"}, "begins with no name of an agent"},
			"twice":           {api.RoleOperator, api.Remits{"a@b", "a@b"}, "said twice"},
			"too many":        {api.RoleOperator, slices.Repeat(api.Remits{"a@b"}, 65), "too many"},
		} {
			if err := put(api.User{Name: "bob", Role: c.role, Remits: c.remits, Password: horse}); !isRefused(err, http.StatusBadRequest, c.says) {
				t.Errorf("%s: %v", name, err)
			}
			if err := second(r.admin.CreateToken(t.Context(), api.NewToken{Name: "bob", Role: c.role, Remits: c.remits})); !isRefused(err, http.StatusBadRequest, c.says) {
				t.Errorf("a token %s: %v", name, err)
			}
		}
		if err := put(api.User{Name: "anna", Role: api.RoleOperator, Remits: api.Remits{"falcon-*@canary"}, Password: horse}); err != nil {
			t.Fatal(err)
		}
		_, anna := r.logIn(t, "anna", horse)
		deploy := func(scope api.Scope) error {
			return second(anna.PutAssignment(t.Context(), api.Assignment{Agent: "falcon-a", Version: "1.0", Scope: scope}))
		}
		if err := deploy(canary); err != nil {
			t.Error(err)
		}
		if p := problem(deploy(prod)); p == nil || p.Type != outside {
			t.Errorf("got %+v", p)
		}
		if e, err := r.admin.Explain(t.Context(), "h-canary"); err != nil || len(e.Agents) != 1 || e.Agents[0].Remits.String() != "falcon-*@canary" {
			t.Errorf("explain: %+v, %v", e.Agents, err)
		}
		// Their own password and session are theirs.
		if err := anna.ChangePassword(t.Context(), api.NewPassword{Current: horse, Password: staple}); err != nil {
			t.Errorf("own password: %v", err)
		}
		if err := anna.EndSession(t.Context(), api.Self); err != nil {
			t.Errorf("own session: %v", err)
		}
		// Who does not know of remits leaves them as they are.
		if err := put(api.User{Name: "anna", Role: api.RoleOperator, Password: horse}); err != nil {
			t.Fatal(err)
		}
		if u, err := r.admin.User(t.Context(), "anna"); err != nil || u.Remits.String() != "falcon-*@canary" {
			t.Errorf("after another password: %+v, %v", u, err)
		}
		if err := put(api.User{Name: "anna", Role: api.RoleAdmin}); !isRefused(err, http.StatusBadRequest, "the role admin has none") {
			t.Errorf("an admin with the remits of before: %v", err)
		}
		_, anna = r.logIn(t, "anna", horse)
		if err := put(api.User{Name: "anna", Role: api.RoleOperator, Remits: api.Remits{}}); err != nil {
			t.Fatal(err)
		}
		if err := deploy(prod); !isRefused(err, http.StatusUnauthorized, "the session has ended") {
			t.Errorf("a session with the remits of before: %v", err)
		}
		_, anna = r.logIn(t, "anna", horse)
		if err := deploy(prod); err != nil {
			t.Error(err)
		}
		log, err := r.admin.Audit(t.Context(), api.ListOptions{Kind: "user"})
		if err != nil || !strings.Contains(string(log.Items[0].Before), "falcon-*@canary") || strings.Contains(string(log.Items[0].After), "remits") {
			t.Errorf("the audit log says %s → %s, %v", log.Items[0].Before, log.Items[0].After, err)
		}
	})
}
