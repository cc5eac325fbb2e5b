package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

const (
	shownFailures = 10 // hosts
	shownHistory  = 8  // transitions
	barWidth      = 24
)

// rolloutView is what show prints as JSON.
type rolloutView struct {
	api.Rollout
	Failed      []api.Grant      `json:"failed"`
	Transitions []api.Transition `json:"transitions"`
}

func (a *app) viewRollout(ctx context.Context, c *api.Client, w io.Writer, id string) (api.Rollout, error) {
	r, err := c.Rollout(ctx, id)
	if err != nil {
		return r, err
	}
	failed, errFailed := c.Grants(ctx, id, api.ListOptions{State: api.OutcomeFailed, Limit: shownFailures + 1})
	history, errHistory := api.All(func(cursor string) (api.Page[api.Transition], error) {
		return c.Transitions(ctx, id, api.ListOptions{Cursor: cursor})
	})
	if err := errors.Join(errFailed, errHistory); err != nil {
		return r, err
	}
	v := rolloutView{r, failed.Items, history}
	return r, a.print(w, v, func(w io.Writer) { a.printRollout(w, v) })
}

func (a *app) printRollout(w io.Writer, v rolloutView) {
	r := v.Rollout
	writef(w, "%s  %s %s to %s\n", a.paint(a.out, bold, "rollout "+r.ID), r.Agent, versionsText(r), r.Scope)
	writef(w, "%s (%s), by %s %s\n", a.paint(a.out, stateStyle(r.State), string(r.State)), r.Reason, r.CreatedBy, ago(r.CreatedAt))
	for _, line := range relationLines(r) {
		writef(w, "%s\n", line)
	}
	writef(w, "\n")
	a.printStages(w, r)
	a.printFailures(w, v.Failed)
	writef(w, "\n")
	a.printHistory(w, v.Transitions)
	a.printNextStep(w, r)
}

func relationLines(r api.Rollout) (lines []string) {
	if r.RollbackOf != "" {
		lines = append(lines, "takes hosts back from rollout "+r.RollbackOf)
	}
	if r.Supersedes != "" {
		lines = append(lines, "took the place of rollout "+r.Supersedes)
	}
	return lines
}

func (a *app) printStages(w io.Writer, r api.Rollout) {
	t := table{head: []string{"", "STAGE", "HOSTS", "PROGRESS", "", "FAILED", "IN FLIGHT", "WAITING", "HELD", "NO ARTIFACT", "SILENT"}}
	for i, st := range r.Strategy.Stages {
		p := api.StageCount{}
		if i < len(r.Progress) {
			p = r.Progress[i]
		}
		mark, look := stageMark(r, i)
		done := p.Succeeded + p.Already
		t.add(cell{mark, look}, cell{cmp.Or(st.Name, fmt.Sprint(i+1)), bold}, plain(stageText(st)), cell{progressBar(done, p.Failed, p.Size), look},
			plain(fmt.Sprintf("%d/%d", done, p.Size)), alarmCell(p.Failed, red), alarmCell(p.Granted-p.Succeeded-p.Failed, yellow),
			plain(fmt.Sprint(p.Waiting)), alarmCell(p.Held+p.HeldLate, yellow), alarmCell(p.NoArtifact, yellow), alarmCell(p.Silent, yellow))
	}
	t.write(a, w)
}

// stageMark tells apart the stages that are over, under way and to come.
func stageMark(r api.Rollout, i int) (string, style) {
	switch {
	case i < r.Stage || r.State == api.RolloutCompleted:
		return "✓", green
	case i > r.Stage:
		return "·", dim
	case r.State == api.RolloutRunning:
		return "▶", ""
	}
	return "■", stateStyle(r.State)
}

// progressBar draws healthy and failed hosts as parts of all.
func progressBar(healthy, failed, all int) string {
	if all <= 0 {
		return strings.Repeat("░", barWidth)
	}
	good := min(healthy*barWidth/all, barWidth)
	bad := min((failed*barWidth+all-1)/all, barWidth-good)
	return strings.Repeat("█", good) + strings.Repeat("×", bad) + strings.Repeat("░", barWidth-good-bad)
}

func (a *app) printFailures(w io.Writer, failed []api.Grant) {
	if len(failed) == 0 {
		return
	}
	writef(w, "\n")
	t := table{head: []string{"FAILED HOST", "WHY", "WHEN"}}
	for i, g := range failed {
		if i == shownFailures {
			t.add(plain("…"), plain(""), plain(""))
			break
		}
		when := ""
		if g.Judged != nil {
			when = ago(*g.Judged)
		}
		t.add(cell{g.Host, bold}, plain(withCode(g.Reason, g.HostReason)), plain(when))
	}
	t.write(a, w)
}

func (a *app) printHistory(w io.Writer, all []api.Transition) {
	if skipped := len(all) - shownHistory; skipped > 0 {
		writef(w, "%s\n", a.paint(a.out, dim, fmt.Sprintf("… %d earlier", skipped)))
		all = all[skipped:]
	}
	for _, t := range all {
		writef(w, "%s  %s  %s: %s\n", a.paint(a.out, dim, t.Time.Local().Format("01-02 15:04:05")), t.Actor, t.Reason, t.Message)
	}
}

func (a *app) printNextStep(w io.Writer, r api.Rollout) {
	if hint := nextStep(r); hint != "" {
		writef(w, "%s %s\n", a.paint(a.out, bold, "next:"), hint)
	}
}

// nextStep is what an operator may do about a rollout.
func nextStep(r api.Rollout) string {
	verb := func(action string) string { return "ops-meta rollout " + action + " " + r.ID }
	switch r.State {
	case api.RolloutDraft, api.RolloutAwaitingApproval:
		return verb(api.ActionApprove) + ", or abort"
	case api.RolloutPaused, api.RolloutInconclusive:
		return stillInFlight(r) + verb(api.ActionResume) + retryToo(r) + ", or rollback, or abort"
	case api.RolloutRunning:
		return verb("show") + " --watch"
	case api.RolloutAborted:
		if !r.Withdrawn && sumUp(r).Granted > 0 && r.Previous != "" {
			return verb(api.ActionRollback) + " takes the hosts it reached back to " + r.Previous
		}
	case api.RolloutRollingBack, api.RolloutCompleted:
	}
	return ""
}

// stillInFlight says of a rollout that grants nobody that hosts are under way
// all the same.
func stillInFlight(r api.Rollout) string {
	n := inFlight(r)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d hosts are still in flight and may fail yet: ops-meta rollout hosts %s --state inFlight; then ", n, r.ID)
}

func retryToo(r api.Rollout) string {
	if sumUp(r).Failed == 0 {
		return ""
	}
	return ", or retry (lets the failed hosts try again)"
}

// inFlight is how many hosts were granted and are not judged.
func inFlight(r api.Rollout) int {
	s := sumUp(r)
	return s.Granted - s.Succeeded - s.Failed
}

func stateStyle(s api.RolloutState) style {
	switch s {
	case api.RolloutCompleted:
		return green
	case api.RolloutAborted, api.RolloutRollingBack:
		return red
	case api.RolloutPaused, api.RolloutInconclusive, api.RolloutAwaitingApproval:
		return yellow
	case api.RolloutDraft, api.RolloutRunning:
	}
	return ""
}

func stageText(st api.Stage) string {
	text := fmt.Sprintf("%g %%", st.Percent)
	if st.Count > 0 {
		text = fmt.Sprint(st.Count)
	}
	if st.Group != "" {
		text += " of " + st.Group
	}
	return text
}

func stagesText(s api.Strategy) string {
	parts := make([]string, len(s.Stages))
	for i, st := range s.Stages {
		parts[i] = stageText(st)
		if st.Soak > 0 {
			parts[i] += ", healthy for " + (time.Duration(st.Soak) * time.Second).String()
		}
		if st.Name != "" {
			parts[i] = st.Name + " (" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " → ")
}

// versionsText is from what to what a rollout leads.
func versionsText(r api.Rollout) string {
	if r.RollbackOf != "" {
		return "back to " + r.Version
	}
	return cmp.Or(r.Previous, "none") + " → " + r.Version
}

// sumUp adds the stages.
func sumUp(r api.Rollout) (s api.StageCount) {
	for _, p := range r.Progress {
		s.Granted += p.Granted
		s.Succeeded += p.Succeeded
		s.Failed += p.Failed
		s.Already += p.Already
	}
	return s
}
