package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestAPlanAsPeopleReadIt(t *testing.T) {
	atHome(t)
	at := func(hours int) *time.Time {
		t := time.Date(2026, 12, 1, 12+hours, 0, 0, 0, time.Local)
		return &t
	}
	whole := api.SchedulePlan{
		Schedule: "prod", Agent: "probe", Channel: "stable", Version: "2.0", Assigned: "1.0", Scope: api.Scope{Kind: api.ScopeEveryone}, Strategy: "waves",
		From: *at(0), Begins: at(0), Ends: at(9), Notes: []string{"each host is assumed to be quick"},
		Stages: []api.PlanStage{
			{Name: "lab", Hosts: 1, Begins: at(0), First: at(0), Last: at(0), Ends: at(1)},
			{Name: "rest", Hosts: 40, Begins: at(1), First: at(4), Last: at(5), Ends: at(9), Waits: []api.PlanWait{{From: *at(1), Until: *at(4)}}, Approval: true, NotBefore: true},
		},
		Hosts: map[api.PlanHostState]int{api.PlanHostChanges: 41, api.PlanHostHeld: 2},
	}
	paused := api.SchedulePlan{Schedule: "prod", Agent: "disk", Channel: "stable", Version: "3.0", Scope: whole.Scope, Reason: "paused", Message: "the schedule is paused"}
	f := serveRoutes(t, map[string]any{
		"GET /schedules/prod/plan": pageOf(whole, paused), "GET /schedules/one/plan": pageOf(whole),
		"GET /schedules/one/plan/hosts": api.Page[api.PlanHost]{Items: []api.PlanHost{
			{Host: "web-1", State: api.PlanHostChanges, Stage: "rest", From: at(4), By: at(5), Chance: &api.PlanChance{Stage: "lab", From: *at(0)}},
			{Host: "web-2", State: api.PlanHostHeld, Message: "held: its disk"},
		}, Next: "web-2", Total: 43},
	})
	r := ops(t, f.at("schedule", "plan", "prod")...)
	for _, want := range []string{
		"prod: probe  channel stable at 2.0, everyone has 1.0\n",
		"by strategy waves, from Tue 2026-12-01 12:00 until Tue 2026-12-01 21:00\n",
		"rest  40     ≥ Tue 2026-12-01 13:00  Tue 2026-12-01 16:00 to Tue 2026-12-01 17:00  ≥ Tue 2026-12-01 21:00  for approval, for its window until Tue 2026-12-01 16:00\n",
		"hosts: 41 change, 2 are held\n", "note: each host is assumed to be quick\n",
		"prod: disk  channel stable at 3.0, everyone has nothing\npaused: the schedule is paused\n",
	} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("not %q in %d\n%s%s", want, r.code, r.out, r.err)
		}
	}
	r = ops(t, f.at("schedule", "plan", "one", "--hosts", "--limit", "2")...)
	for _, want := range []string{
		"web-1  changes  rest  Tue 2026-12-01 16:00 to Tue 2026-12-01 17:00  or in lab from Tue 2026-12-01 12:00, if it asks first\n",
		"web-2  held     -     -                                             held: its disk\n", "2 of 43 hosts; the next: --after web-2\n",
	} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("not %q in %d\n%s%s", want, r.code, r.out, r.err)
		}
	}
	if asked := f.requests[len(f.requests)-1]; !strings.Contains(asked, "agent=probe") || !strings.Contains(asked, "limit=2") || !strings.Contains(asked, "from=2026-12-01T") {
		t.Errorf("hosts were asked for by %s", asked)
	}
	r = ops(t, f.at("schedule", "plan", "one", "--hosts", "--limit", "2", "-o", "json")...)
	var v plannedView
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || len(v.Items) != 2 || v.Next != "web-2" || len(v.Stages) != 2 {
		t.Errorf("%v: %+v", err, r)
	}
	if r = ops(t, f.at("schedule", "plan", "prod", "--hosts")...); r.code == 0 || !strings.Contains(r.err, "--agent") {
		t.Errorf("%+v", r)
	}
}

func TestMomentsOnTheCommandLine(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2d": now.Add(48 * time.Hour), "90m": now.Add(90 * time.Minute), "2026-12-24": time.Date(2026, 12, 24, 0, 0, 0, 0, time.Local),
		"2026-12-24 18:00": time.Date(2026, 12, 24, 18, 0, 0, 0, time.Local), "2026-12-24T18:00:00Z": time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "tomorrow", "-2d", "24.12."} {
		if got, err := parseMoment(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
