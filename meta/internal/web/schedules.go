package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// shownSchedules is how many schedules one page shows with how each of their agents stands.
const shownSchedules = 20

type schedulesView struct {
	Schedules []scheduleView
	Channels  []api.Channel
	Next      string
}

// scheduleView is a schedule and how its agents stand.
type scheduleView struct {
	api.Schedule
	States []api.ScheduleState
	Action string // pause or resume
}

func schedulesPage(v *visit) error {
	ctx := v.r.Context()
	page, err := v.api.Schedules(ctx, api.ListOptions{Cursor: v.r.URL.Query().Get("cursor"), Limit: shownSchedules})
	if err != nil {
		return err
	}
	data := schedulesView{Next: page.Next}
	for _, s := range page.Items {
		view, err := scheduleOf(v, s)
		if err != nil {
			return err
		}
		data.Schedules = append(data.Schedules, view)
	}
	channels, err := v.api.Channels(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	data.Channels = channels.Items
	v.renderPage(http.StatusOK, "schedules", "Schedules", data)
	return nil
}

func scheduleOf(v *visit, s api.Schedule) (scheduleView, error) {
	view := scheduleView{Schedule: s, Action: "pause"}
	if s.Paused {
		view.Action = "resume"
	}
	states, err := v.api.ScheduleStates(v.r.Context(), s.Name)
	view.States = states.Items
	return view, err
}

// scheduleMood is the colour class of what is next about an agent of a schedule.
func scheduleMood(reason string) string {
	switch reason {
	case "up-to-date":
		return "good"
	case "taken-back", "undeliverable", "no-artifact":
		return "bad"
	case "halted", "paused", "standstill", "taken", "no-channel":
		return "warn"
	case "begins", "under-way":
		return "busy"
	}
	return "calm"
}

type planView struct {
	Schedule string
	Agents   []string // to choose from
	Query    api.PlanQuery
	Plans    []api.SchedulePlan
	Problem  *api.Problem // why there is none; what was entered is kept
}

// planPage is a dry run: it looks ahead once, when it is asked to, and does not follow
// what changes.
func planPage(v *visit) error {
	q := v.r.URL.Query()
	data := planView{
		Schedule: v.r.PathValue("name"),
		Query:    api.PlanQuery{Schedule: v.r.PathValue("name"), Agent: q.Get("agent"), Version: q.Get("version")},
	}
	states, err := v.api.ScheduleStates(v.r.Context(), data.Schedule)
	if err != nil {
		return err
	}
	for _, st := range states.Items {
		data.Agents = append(data.Agents, st.Agent)
	}
	plans, err := v.api.SchedulePlan(v.r.Context(), data.Query)
	if err != nil {
		return v.showAgain(err, "plan", "Plan of "+data.Schedule, func(p *api.Problem) any { data.Problem = p; return data })
	}
	data.Plans = plans.Items
	v.renderPage(http.StatusOK, "plan", "Plan of "+data.Schedule, data)
	return nil
}

type planHostsView struct {
	Query api.PlanQuery
	Page  api.Page[api.PlanHost]
}

func planHostsPage(v *visit) error {
	q := v.r.URL.Query()
	data := planHostsView{Query: api.PlanQuery{Schedule: v.r.PathValue("name"), Agent: q.Get("agent"), Version: q.Get("version")}}
	if at, err := time.Parse(time.RFC3339Nano, q.Get("from")); err == nil {
		data.Query.From = at
	}
	var err error
	if data.Page, err = v.api.SchedulePlanHosts(v.r.Context(), data.Query, api.Cursor{After: q.Get("cursor"), Limit: 100}); err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "planhosts", "Hosts of a plan", data)
	return nil
}

// scheduleActions are what can be done with a schedule at the page, and whether it is paused
// then.
var scheduleActions = map[string]bool{"pause": true, "resume": false}

func confirmScheduleAction(v *visit) error {
	name, action := v.r.PathValue("name"), v.r.PathValue("action")
	paused, known := scheduleActions[action]
	if !known {
		return errNotFound
	}
	s, err := v.api.Schedule(v.r.Context(), name)
	if err != nil {
		return err
	}
	states, err := v.api.ScheduleStates(v.r.Context(), name)
	if err != nil {
		return err
	}
	view := confirmView{
		Question: fmt.Sprintf("Pause the schedule %s?", name), Button: "Pause",
		Effect: "It begins nothing more. What is under way goes on: that is paused at its rollout.",
		Action: v.r.URL.Path, Back: "/schedules", Hidden: map[string]string{"revision": strconv.FormatInt(s.Revision, 10)},
	}
	if !paused {
		waiting := 0
		for _, st := range states.Items {
			if st.Reason == "paused" {
				waiting++
			}
		}
		view.Question, view.Button = fmt.Sprintf("Resume the schedule %s?", name), "Resume"
		view.Effect = fmt.Sprintf("It follows channel %s again: %s not at what their channel points at, and begin when their first window is open.", s.Channel, printable.Count(waiting, "agent is", "agents are"))
	}
	v.renderPage(http.StatusOK, "confirm", view.Button+" a schedule", view)
	return nil
}

func actOnSchedule(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	paused, known := scheduleActions[v.r.PathValue("action")]
	if !known {
		return errNotFound
	}
	revision, err := strconv.ParseInt(cmp.Or(v.r.PostFormValue("revision"), "0"), 10, 64)
	if err != nil {
		return &api.Problem{Title: "Which schedule was meant?", Status: http.StatusBadRequest, Detail: "the revision is not a number", Hint: "Go back and try again."}
	}
	if _, err := v.api.PatchSchedule(v.r.Context(), v.r.PathValue("name"), api.Patch{"paused": paused}, revision); err != nil {
		return err
	}
	return v.redirectTo("/schedules")
}

// planAddress is the page of a plan, or of its hosts.
func planAddress(q api.PlanQuery, hosts bool) string {
	at := "/schedules/" + url.PathEscape(q.Schedule) + "/plan"
	if hosts {
		at += "/hosts"
	}
	if values := q.Values(); len(values) > 0 {
		at += "?" + values.Encode()
	}
	return at
}

// planQueryOf asks for the hosts of a plan as it was made.
func planQueryOf(q api.PlanQuery, p api.SchedulePlan) api.PlanQuery {
	q.Agent, q.From = p.Agent, p.From
	return q
}
