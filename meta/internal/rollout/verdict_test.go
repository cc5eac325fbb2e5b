package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

func TestJudge(t *testing.T) {
	r := api.Rollout{ID: "r1", Agent: "falcon-agent", Version: "2.0.0", State: api.RolloutRunning}
	agent := func(version, status string, phase meta.Phase) api.HostAgent {
		return api.HostAgent{Name: "falcon-agent", Version: version, Status: status, Phase: phase, Rollout: "r1"}
	}
	for name, c := range map[string]struct {
		outcome string // of the grant before
		report  rollout.Report
		want    string
		reason  rollout.Reason
	}{
		"healthy and committed":                                {"", rollout.Report{Agent: agent("2.0.0", "started", "idle"), Desired: "2.0.0"}, "succeeded", rollout.ReasonHealthy},
		"an older sidecar knows no phases":                     {"", rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "started"}}, "succeeded", rollout.ReasonHealthy},
		"on probation":                                         {"", rollout.Report{Agent: agent("2.0.0", "started", "probation"), Desired: "2.0.0"}, "", ""},
		"not yet begun":                                        {"", rollout.Report{Agent: agent("1.0.0", "started", "idle"), Desired: "1.0.0"}, "", ""},
		"idle on the old version":                              {"", rollout.Report{Agent: agent("1.0.0", "started", "idle"), Desired: "2.0.0"}, "", ""},
		"rolled back":                                          {"", rollout.Report{Agent: agent("1.0.0", "started", "rolledBack"), Desired: "2.0.0"}, "failed", rollout.ReasonHostUndone},
		"failed":                                               {"", rollout.Report{Agent: agent("1.0.0", "started", "failed"), Desired: "2.0.0"}, "failed", rollout.ReasonHostFailed},
		"failed at an earlier wish":                            {"", rollout.Report{Agent: agent("1.0.0", "started", "failed"), Desired: "1.5.0"}, "", ""},
		"failed at another rollout":                            {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Phase: "failed", Rollout: "r0"}, Desired: "2.0.0"}, "", ""},
		"failed at who knows what":                             {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Phase: "failed"}}, "", ""},
		"there but stopped":                                    {"", rollout.Report{Agent: agent("2.0.0", "stoped", "idle"), Desired: "2.0.0"}, "", ""},
		"there and stopped, as wanted":                         {"", rollout.Report{Agent: agent("2.0.0", "stoped", "idle"), Desired: "2.0.0", Stop: true}, "succeeded", rollout.ReasonHealthy},
		"still healthy":                                        {"succeeded", rollout.Report{Agent: agent("2.0.0", "started", "idle"), Desired: "2.0.0"}, "", ""},
		"down after success":                                   {"succeeded", rollout.Report{Agent: agent("2.0.0", "stoped", "idle"), Desired: "2.0.0"}, "failed", rollout.ReasonUnhealthy},
		"one unclear status after success":                     {"succeeded", rollout.Report{Agent: agent("2.0.0", "unknown: timeout", "idle"), Desired: "2.0.0"}, "", ""},
		"undone after success":                                 {"succeeded", rollout.Report{Agent: agent("1.0.0", "started", "rolledBack"), Desired: "2.0.0"}, "failed", rollout.ReasonHostUndone},
		"rolled back, told by the version":                     {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Phase: "rolledBack"}, Desired: "2.0.0", SinceGrant: true}, "failed", rollout.ReasonHostUndone},
		"failed, told by the version":                          {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Phase: "failed"}, Desired: "2.0.0", SinceGrant: true}, "failed", rollout.ReasonHostFailed},
		"failed at it before it was granted":                   {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Phase: "failed"}, Desired: "2.0.0"}, "", ""},
		"an older sidecar says it is there and stopped, once":  {"", rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "stoped"}, SinceGrant: true}, "", ""},
		"an older sidecar says so twice":                       {"", rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "stoped"}, SinceGrant: true, Repeated: true}, "failed", rollout.ReasonStopped},
		"an older sidecar says so twice, as wanted":            {"", rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "stoped"}, SinceGrant: true, Repeated: true, Stop: true}, "succeeded", rollout.ReasonHealthy},
		"an older sidecar said so twice before it was granted": {"", rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "stopped"}, Repeated: true}, "", ""},
		"an older sidecar has not begun":                       {"", rollout.Report{Agent: api.HostAgent{Version: "1.0.0", Status: "stoped"}, SinceGrant: true, Repeated: true}, "", ""},
		"a failure stays one":                                  {"failed", rollout.Report{Agent: agent("2.0.0", "started", "idle"), Desired: "2.0.0"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.report.Agent.Error = "exit 7"
			got := rollout.Judge(r, api.Grant{Rollout: "r1", Outcome: c.outcome}, c.report)
			if got.Outcome != c.want || got.Reason != c.reason {
				t.Fatalf("got %+v, want %q (%s)", got, c.want, c.reason)
			}
			if c.want == "failed" && !strings.Contains(got.Message, "exit 7") {
				t.Errorf("message %q lacks the host's own reason", got.Message)
			}
		})
	}
}

func TestSilenceIsFailureByTheDeadline(t *testing.T) {
	r := api.Rollout{ID: "r1", Version: "2.0.0", State: api.RolloutRunning}
	g := api.Grant{Rollout: "r1", Granted: t0, Deadline: t0.Add(15 * time.Minute)}
	if v := rollout.Overdue(r, g, rollout.Report{}, t0.Add(14*time.Minute)); v.Outcome != "" {
		t.Errorf("judged before the deadline: %+v", v)
	}
	if v := rollout.Overdue(r, g, rollout.Report{}, g.Deadline); v.Outcome != "failed" || v.Reason != rollout.ReasonDeadline {
		t.Errorf("got %+v", v)
	}
	if v := rollout.Overdue(r, g, rollout.Report{Agent: api.HostAgent{Version: "2.0.0", Status: "stoped"}}, g.Deadline); v.Outcome != "failed" || v.Reason != rollout.ReasonStopped {
		t.Errorf("an older sidecar that sits on it: %+v", v)
	}
	if v := rollout.Overdue(r, g, rollout.Report{Agent: api.HostAgent{Held: true}}, g.Deadline); v.Outcome != "" || v.Reason != rollout.ReasonHeldDeadline {
		t.Errorf("a held host: %+v", v)
	}
	g.Outcome = "succeeded"
	if v := rollout.Overdue(r, g, rollout.Report{}, g.Deadline); v.Reason != "" {
		t.Errorf("a judged grant: %+v", v)
	}
}

func TestWindows(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("Mon 2006-01-02 15:04 -0700", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	night := &api.Window{Days: []string{"fri"}, From: "22:00", To: "04:00"}
	berlin := &api.Window{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "09:00", To: "17:00", Zone: "Europe/Berlin"}
	for name, c := range map[string]struct {
		w    *api.Window
		at   string
		open bool
	}{
		"no window":                           {nil, "Mon 2026-03-02 10:00 +0000", true},
		"the evening it begins":               {night, "Fri 2026-03-06 22:00 +0000", true},
		"past midnight, of the day before":    {night, "Sat 2026-03-07 03:59 +0000", true},
		"its end is exclusive":                {night, "Sat 2026-03-07 04:00 +0000", false},
		"past midnight, of a day not listed":  {night, "Fri 2026-03-06 03:00 +0000", false},
		"winter: 08:00 UTC is nine in Berlin": {berlin, "Mon 2026-03-02 08:00 +0000", true},
		"winter: 07:59 UTC is too early":      {berlin, "Mon 2026-03-02 07:59 +0000", false},
		"summer: 07:00 UTC is nine in Berlin": {berlin, "Mon 2026-07-06 07:00 +0000", true},
		"weekend":                             {berlin, "Sat 2026-03-07 10:00 +0000", false},
		"unreadable is never open":            {&api.Window{From: "noon", To: "13:00"}, "Sat 2026-03-07 12:00 +0000", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rollout.Open(c.w, at(c.at)); got != c.open {
				t.Errorf("open is %v, want %v", got, c.open)
			}
		})
	}
	next, ok := rollout.NextOpen(night, at("Sat 2026-03-07 04:00 +0000"))
	if want := at("Fri 2026-03-13 22:00 +0000"); !ok || !next.Equal(want) {
		t.Errorf("opens next at %v, want %v", next, want)
	}
}
