package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func TestWhatThePolicyRefuses(t *testing.T) {
	upgrade := func(s *plan.Situation) {
		s.Wish.Agent.Version, s.Wish.Agent.Tarball = "1.0.1", "https://releases.example/x"
	}
	cases := map[string]struct {
		policy plan.Policy
		change func(*plan.Situation)
		act    plan.Act
		reason string
		code   string
	}{
		"nothing":             {plan.Policy{}, upgrade, plan.ActUpgrade, "1.0.1 is wanted", ""},
		"another agent":       {plan.Policy{Agents: []string{"ops-*", "falco"}}, upgrade, plan.ActNone, "policy.agents", plan.CodePolicy},
		"this agent":          {plan.Policy{Agents: []string{"fal*"}}, upgrade, plan.ActUpgrade, "", ""},
		"another agent, stop": {plan.Policy{Agents: []string{"ops-*"}}, func(s *plan.Situation) { s.Wish.Agent.Cmd = meta.CmdStop }, plan.ActNone, "policy.agents", plan.CodePolicy},
		"user":                {plan.Policy{RunUsers: []string{"ops"}}, upgrade, plan.ActNone, "policy.run_users of this host does not list falcon", plan.CodePolicy},
		"user of what crashed": {plan.Policy{RunUsers: []string{"ops"}}, func(s *plan.Situation) {
			s.Seen.Status = status.Status{Word: meta.StatusStopped}
		}, plan.ActNone, "policy.run_users", plan.CodePolicy},
		"root": {plan.Policy{RunUsers: []string{"falcon"}}, func(s *plan.Situation) {
			s.Wish.Place.RunUser = "root"
		}, plan.ActNone, "does not list root", plan.CodePolicy},
		"place":           {plan.Policy{WorkDirs: []string{"/opt/agent"}}, upgrade, plan.ActNone, "does not list /opt/agents", plan.CodePolicy},
		"place below":     {plan.Policy{WorkDirs: []string{"/opt"}}, upgrade, plan.ActUpgrade, "", ""},
		"place, the root": {plan.Policy{WorkDirs: []string{"/"}}, upgrade, plan.ActUpgrade, "", ""},
		"move":            {plan.Policy{WorkDirs: []string{"/opt"}}, func(s *plan.Situation) { s.Wish.Place.WorkDir = "/srv" }, plan.ActNone, "does not list /srv", plan.CodePolicy},
		"host":            {plan.Policy{TarballHosts: []string{"*.other"}}, upgrade, plan.ActNone, "does not list releases.example", plan.CodePolicy},
		"mirror": {plan.Policy{TarballHosts: []string{"releases.example"}}, func(s *plan.Situation) {
			upgrade(s)
			s.Wish.Agent.Mirrors = meta.AddressesOf("http://evil.example")
		}, plan.ActNone, "does not list evil.example", plan.CodePolicy},
		"digest's address": {plan.Policy{TarballHosts: []string{"releases.example"}}, func(s *plan.Situation) {
			upgrade(s)
			s.Wish.Agent.MD5 = "http://evil.example"
		}, plan.ActNone, "does not list evil.example", plan.CodePolicy},
		"config's address": {plan.Policy{TarballHosts: []string{"releases.example"}}, func(s *plan.Situation) {
			s.ConfigDue, s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = true, "cfg.json", "http://evil.example"
		}, plan.ActNone, "as wanted", ""},
		"too old":    {plan.Policy{MinVersions: map[string]string{"falcon": "2.0"}}, upgrade, plan.ActNone, "at least 2.0, not 1.0.1", plan.CodePolicy},
		"old enough": {plan.Policy{MinVersions: map[string]string{"falcon": "1.0.1"}}, upgrade, plan.ActUpgrade, "", ""},
		"no order": {plan.Policy{MinVersions: map[string]string{"falcon": "1.0.1"}}, func(s *plan.Situation) {
			s.Wish.Agent.Version = "nightly"
		}, plan.ActNone, "cannot be compared", plan.CodePolicy},
		"downgrade": {plan.Policy{NoDowngrade: true}, func(s *plan.Situation) { s.Wish.Agent.Version = "0.9.0" }, plan.ActNone, "0.9.0 is older than 1.0.0", plan.CodePolicy},
		"downgrade by a move": {plan.Policy{NoDowngrade: true}, func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Wish.Place.WorkDir = "0.9.0", "/srv"
		}, plan.ActNone, "0.9.0 is older than 1.0.0", plan.CodePolicy},
		"upgrade where nothing may go back": {plan.Policy{NoDowngrade: true}, upgrade, plan.ActUpgrade, "", ""},
		"an operator goes back": {plan.Policy{NoDowngrade: true, MinVersions: map[string]string{"falcon": "1.0.0"}}, func(s *plan.Situation) {
			s.Hold = &plan.Hold{Version: "0.9.0", Reason: "bad"}
		}, plan.ActRollback, "an operator went back", ""},
		"refused, and what is there crashed": {plan.Policy{NoDowngrade: true}, func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Seen.Status = "0.9.0", status.Status{Word: meta.StatusStopped}
		}, plan.ActStart, "while 0.9.0 is refused", plan.CodePolicy},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := wanted()
			s.Policy = c.policy
			c.change(&s)
			step := plan.Next(s)
			if step.Act != c.act || !strings.Contains(step.Reason, c.reason) || step.Code != c.code {
				t.Errorf("%s because %q, code %q; want %s because %q, code %q", step.Act, step.Reason, step.Code, c.act, c.reason, c.code)
			}
			if c.code == plan.CodePolicy {
				if st := s.State(step); st.Reason != plan.CodePolicy || st.Phase != meta.PhaseFailed || !strings.Contains(st.Error, "policy.") {
					t.Errorf("told as %s, %q, %q", st.Phase, st.Error, st.Reason)
				}
			}
		})
	}
}

func TestVersionsChangeWithinWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("SKIPPED: no time zones on this machine")
	}
	every := [7]bool{true, true, true, true, true, true, true}
	weekdays := [7]bool{time.Monday: true, time.Tuesday: true, time.Wednesday: true, time.Thursday: true, time.Friday: true}
	at := func(text string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	night := plan.Window{Days: weekdays, From: 22 * time.Hour, To: 4 * time.Hour, Zone: berlin}
	early := plan.Window{Days: every, From: 2*time.Hour + 30*time.Minute, To: 5 * time.Hour, Zone: berlin}
	whole := plan.Window{Days: [7]bool{time.Sunday: true}, From: 0, To: 24 * time.Hour, Zone: time.UTC}
	for _, c := range []struct {
		windows   []plan.Window
		now, open string // open: empty, now
	}{
		{[]plan.Window{early}, "2026-01-02T03:00:00+01:00", ""},
		{[]plan.Window{early}, "2026-01-02T02:29:59+01:00", "2026-01-02T02:30:00+01:00"},
		{[]plan.Window{early}, "2026-01-02T05:00:00+01:00", "2026-01-03T02:30:00+01:00"},
		{[]plan.Window{night}, "2026-01-03T03:59:00+01:00", ""},                          // Saturday, of Friday's
		{[]plan.Window{night}, "2026-01-03T04:00:00+01:00", "2026-01-05T22:00:00+01:00"}, // until Monday
		{[]plan.Window{night}, "2026-01-05T03:00:00+01:00", "2026-01-05T22:00:00+01:00"}, // Sunday's does not open
		{[]plan.Window{night, whole}, "2026-01-03T12:00:00Z", "2026-01-04T00:00:00Z"},
		{[]plan.Window{whole}, "2026-01-04T23:59:59Z", ""},
		// The night in which 02:30 does not exist, and the one in which it comes twice: the
		// window opens at one of the two, and closes at the one 05:00 there is.
		{[]plan.Window{early}, "2026-03-29T01:59:00+01:00", "2026-03-29T03:30:00+02:00"},
		{[]plan.Window{early}, "2026-10-25T04:59:00+01:00", ""},
	} {
		s := wanted()
		s.Policy, s.Now, s.Wish.Agent.Version = plan.Policy{Windows: c.windows}, at(c.now), "1.0.1"
		step := plan.Next(s)
		switch {
		case c.open == "" && step.Act != plan.ActUpgrade:
			t.Errorf("%s: %s because %s, want an upgrade", c.now, step.Act, step.Reason)
		case c.open != "" && (step.Act != plan.ActWait || !step.Until.Equal(at(c.open)) || step.Code != plan.CodeWindow):
			t.Errorf("%s: %s until %s, want to wait until %s", c.now, step.Act, step.Until, c.open)
		}
		crashed := s
		crashed.Seen.Status = status.Status{Word: meta.StatusStopped}
		if step := plan.Next(crashed); c.open != "" && step.Act != plan.ActStart {
			t.Errorf("%s: what crashed is not started again: %s because %s", c.now, step.Act, step.Reason)
		}
		stop := s
		stop.Wish.Agent.Cmd = meta.CmdStop
		if step := plan.Next(stop); (step.Act == plan.ActStop) != (c.open == "") {
			t.Errorf("%s: a stop is %s", c.now, step.Act)
		}
	}
}
