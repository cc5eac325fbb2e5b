package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

type rolloutsView struct {
	State string
	Page  api.Page[api.Rollout]
}

func rolloutsPage(v *visit) error {
	q := v.r.URL.Query()
	page, err := v.api.Rollouts(v.r.Context(), api.ListOptions{State: q.Get("state"), Agent: q.Get("agent"), Cursor: q.Get("cursor"), Limit: 50})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "rollouts", "Rollouts", rolloutsView{State: q.Get("state"), Page: page})
	return nil
}

type rolloutView struct {
	Rollout     api.Rollout
	Stages      []stageView
	Transitions []api.Transition
	Failed      []api.Grant // the first few
	Actions     []string    // that make sense now
}

// stageView is a stage with its counts as shares of its hosts.
type stageView struct {
	api.Stage
	api.StageCount
	Number  int
	Current bool
	Done    bool
	Bars    []bar
}

// InFlight is how many hosts were granted the target and are not yet judged.
func (s stageView) InFlight() int { return max(0, s.Granted-s.Succeeded-s.Failed) }

// bar is one part of a stage's progress; Offset and Percent place it.
type bar struct {
	Kind    string // succeeded, failed, granted, already
	Hosts   int
	Offset  float64
	Percent float64
}

func stageViews(r api.Rollout) []stageView {
	var out []stageView
	for i, stage := range r.Strategy.Stages {
		view := stageView{Stage: stage, Number: i + 1, Current: i == r.Stage && !hasEnded(r.State), Done: i < r.Stage || r.State == api.RolloutCompleted}
		if i < len(r.Progress) {
			view.StageCount = r.Progress[i]
		}
		view.Bars = stageBars(view.StageCount)
		out = append(out, view)
	}
	return out
}

func stageBars(c api.StageCount) []bar {
	whole := max(c.Size, c.Granted+c.Already)
	parts := []bar{
		{Kind: "already", Hosts: c.Already},
		{Kind: "succeeded", Hosts: c.Succeeded},
		{Kind: "failed", Hosts: c.Failed},
		{Kind: "granted", Hosts: max(0, c.Granted-c.Succeeded-c.Failed)},
	}
	offset := 0.0
	for i := range parts {
		parts[i].Offset, parts[i].Percent = offset, percent(parts[i].Hosts, whole)
		offset += parts[i].Percent
	}
	return slices.DeleteFunc(parts, func(b bar) bool { return b.Hosts == 0 })
}

func hasEnded(s api.RolloutState) bool {
	return s == api.RolloutCompleted || s == api.RolloutAborted
}

// actionsFor are the operator's actions that make sense in a state.
func actionsFor(r api.Rollout) []string {
	switch r.State {
	case api.RolloutDraft:
		return []string{api.ActionApprove, api.ActionAbort}
	case api.RolloutAwaitingApproval:
		return append([]string{api.ActionApprove, api.ActionPause}, endsOf(r)...)
	case api.RolloutRunning:
		return append(resumeActions(r, api.ActionPause), endsOf(r)...)
	case api.RolloutPaused, api.RolloutInconclusive:
		return append(resumeActions(r, api.ActionResume), endsOf(r)...)
	case api.RolloutCompleted, api.RolloutAborted:
		if r.Previous == "" || r.Previous == r.Version || r.Reason == "rolled-back" {
			return nil // there is no way back, or it was gone already
		}
		return []string{api.ActionRollback}
	case api.RolloutRollingBack:
		return []string{api.ActionAbort}
	}
	return nil
}

// resumeActions is first, and retry where a host has failed.
func resumeActions(r api.Rollout, first string) []string {
	if slices.ContainsFunc(r.Progress, func(c api.StageCount) bool { return c.Failed > 0 }) {
		return []string{first, api.ActionRetry}
	}
	return []string{first}
}

// endsOf are the ways to the end of a rollout that has begun.
func endsOf(r api.Rollout) []string {
	if r.Stage+1 < len(r.Strategy.Stages) {
		return []string{api.ActionSkip, api.ActionAbort, api.ActionRollback}
	}
	return []string{api.ActionAbort, api.ActionRollback}
}

func rolloutPage(v *visit) error {
	ctx, id := v.r.Context(), v.r.PathValue("id")
	rollout, err := v.api.Rollout(ctx, id)
	if err != nil {
		return err
	}
	transitions, err := v.api.Transitions(ctx, id, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	failed, err := v.api.Grants(ctx, id, api.ListOptions{State: api.OutcomeFailed, Limit: 20})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "rollout", rollout.Agent+" "+rollout.Version, rolloutView{
		Rollout: rollout, Stages: stageViews(rollout), Transitions: transitions.Items, Failed: failed.Items, Actions: actionsFor(rollout),
	})
	return nil
}

// rolloutEffect says what an action changes, for the confirmation.
func rolloutEffect(r api.Rollout, action string) string {
	var granted, failed, size int
	for _, c := range r.Progress {
		granted += c.Granted
		failed += c.Failed
		size += c.Size - c.Already
	}
	left := max(0, size-granted)
	switch action {
	case api.ActionApprove:
		return fmt.Sprintf("The gate opens and the next stage begins. %s so far, %s to go.", printable.Count(granted, "host has the target", "hosts have the target"), printable.Count(left, "host", "hosts"))
	case api.ActionPause:
		return fmt.Sprintf("No further host is let have %s. %s that already may go on.", r.Version, printable.Count(granted, "host", "hosts"))
	case api.ActionResume:
		return fmt.Sprintf("Hosts are let have %s again: %s to go. Failures so far are forgiven.", r.Version, printable.Count(left, "host", "hosts"))
	case api.ActionRetry:
		return fmt.Sprintf("%s on which %s failed may try once more, and no others. What failed before no longer counts.", printable.Count(failed, "host", "hosts"), r.Version)
	case api.ActionSkip:
		return fmt.Sprintf("The last stage begins now: %s to go, without waiting for the stages between and their approvals. Failures so far are forgiven.", printable.Count(left, "host", "hosts"))
	case api.ActionAbort:
		return fmt.Sprintf("The rollout ends. %s never get %s; the %d that have it keep it until something else is deployed.", printable.Count(left, "host will", "hosts will"), r.Version, granted)
	case api.ActionRollback:
		back := r.Previous
		if back == "" {
			back = "what they had before (nothing)"
		}
		return fmt.Sprintf("The rollout ends and a new one takes %s back to %s.", printable.Count(granted, "host", "hosts"), back)
	}
	return ""
}

func confirmRolloutAction(v *visit) error {
	id, action := v.r.PathValue("id"), v.r.PathValue("action")
	rollout, err := v.api.Rollout(v.r.Context(), id)
	if err != nil {
		return err
	}
	effect := rolloutEffect(rollout, action)
	if effect == "" {
		return errNotFound
	}
	title := strings.ToUpper(action[:1]) + action[1:]
	v.renderPage(http.StatusOK, "confirm", title+" a rollout", confirmView{
		Question: fmt.Sprintf("%s the rollout of %s %s to %s?", title, rollout.Agent, rollout.Version, rollout.Scope),
		Effect:   effect, Action: v.r.URL.Path, Button: title, Reason: true,
		Danger: action == api.ActionAbort || action == api.ActionRollback, Back: "/rollouts/" + url.PathEscape(id),
	})
	return nil
}

func actOnRollout(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	rollout, err := v.api.ActOnRollout(v.r.Context(), v.r.PathValue("id"), v.r.PathValue("action"), api.RolloutAction{Reason: v.r.PostFormValue("reason")})
	if err != nil {
		return err
	}
	return v.redirectTo("/rollouts/" + url.PathEscape(rollout.ID))
}
