package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a rollout does by itself when it has failed.
const (
	OnFailurePause    = "pause"
	OnFailureAbort    = "abort"
	OnFailureRollback = "rollback"
)

// How a grant ended.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
)

// DefaultDeadline is how many seconds a granted host has when its strategy
// does not say.
const DefaultDeadline = 900

// MaxStages is how many stages a strategy may have.
const MaxStages = 50

// DefaultStrategy is how a deploy rolls out when its agent names no strategy:
// one host first, then a quarter, then all. The first failure pauses it.
func DefaultStrategy() Strategy {
	return Strategy{
		Name: "default",
		Stages: []Stage{
			{Name: "canary", Count: 1},
			{Name: "quarter", Percent: 25},
			{Name: "all", Percent: 100},
		},
		OnFailure: OnFailurePause,
	}
}

// RollbackStrategy is how hosts return to the previous release: all at once,
// and a host that fails to return stops no other.
func RollbackStrategy(of Strategy) Strategy {
	return Strategy{
		Name:         "rollback",
		Stages:       []Stage{{Name: "all", Percent: 100}},
		OnFailure:    OnFailurePause,
		MaxFailedPct: 100,
		Deadline:     of.Deadline,
		Parallel:     true,
	}
}

// GrantDeadline is how long a granted host has.
func (s Strategy) GrantDeadline() time.Duration {
	if s.Deadline > 0 {
		return time.Duration(s.Deadline) * time.Second
	}
	return DefaultDeadline * time.Second
}

// StageWindow is when grants of stage i may be made; nil is always.
func (s Strategy) StageWindow(i int) *Window {
	if i >= 0 && i < len(s.Stages) && s.Stages[i].Window != nil {
		return s.Stages[i].Window
	}
	return s.Window
}

// Validate checks a strategy. The error is a [*Problem] of status 422 whose
// Field names the input.
func (s Strategy) Validate() error {
	if len(s.Stages) == 0 || len(s.Stages) > MaxStages {
		return strategyProblem("stages", "a strategy has 1 to %d stages, not %d", MaxStages, len(s.Stages))
	}
	switch s.OnFailure {
	case "", OnFailurePause, OnFailureAbort, OnFailureRollback:
	default:
		return strategyProblem("onFailure", "%q is not known: want pause, abort or rollback", s.OnFailure)
	}
	if s.MaxFailed < 0 || s.MinSample < 0 || s.Deadline < 0 || s.MaxInFlight < 0 {
		return strategyProblem("maxFailed", "maxFailed, minSample, deadline and maxInFlight must not be negative")
	}
	if !(s.MaxFailedPct >= 0 && s.MaxFailedPct <= 100) {
		return strategyProblem("maxFailedPct", "want 0 to 100, not %v", s.MaxFailedPct)
	}
	if s.Rate != nil && (s.Rate.Hosts < 1 || s.Rate.Period < 1) {
		return strategyProblem("rate", "want at least 1 host in at least 1 second, not %d in %d", s.Rate.Hosts, s.Rate.Period)
	}
	if err := s.Window.validate("window"); err != nil {
		return err
	}
	return s.validateStages()
}

func (s Strategy) validateStages() error {
	var counts, percents = map[string]int{}, map[string]float64{}
	for i, st := range s.Stages {
		field := "stages[" + strconv.Itoa(i) + "]"
		if err := st.validate(field); err != nil {
			return err
		}
		if st.Count > 0 && st.Count <= counts[st.Group] || st.Percent > 0 && st.Percent <= percents[st.Group] {
			return strategyProblem(field, "stages are cumulative: each must be larger than the one before it")
		}
		counts[st.Group] = max(counts[st.Group], st.Count)
		percents[st.Group] = max(percents[st.Group], st.Percent)
	}
	last := len(s.Stages) - 1
	if s.Stages[last].Percent != 100 || s.Stages[last].Group != "" {
		return strategyProblem("stages["+strconv.Itoa(last)+"]",
			"the last stage must be percent: 100 without a group, because completion gives the release to every host")
	}
	return nil
}

func (st Stage) validate(field string) error {
	if st.Count < 0 || !(st.Percent >= 0 && st.Percent <= 100) {
		return strategyProblem(field, "want a count of at least 1, or a percent above 0 and up to 100")
	}
	if (st.Count > 0) == (st.Percent > 0) {
		return strategyProblem(field, "want exactly one of count and percent")
	}
	if st.Soak < 0 {
		return strategyProblem(field+".soak", "must not be negative")
	}
	return st.Window.validate(field + ".window")
}

// Weekdays are the days a [Window] may name, Monday first.
var Weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

func (w *Window) validate(field string) error {
	if w == nil {
		return nil
	}
	for _, d := range w.Days {
		if !slices.Contains(Weekdays, strings.ToLower(d)) {
			return strategyProblem(field+".days", "%q is not a day: want %s", d, strings.Join(Weekdays, ", "))
		}
	}
	for _, clock := range []string{w.From, w.To} {
		if _, err := time.Parse("15:04", clock); err != nil {
			return strategyProblem(field, "%q is not a time of day: want HH:MM", clock)
		}
	}
	if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return strategyProblem(field+".zone", "%q is not a time zone: want a name such as Europe/Berlin", w.Zone)
	}
	return nil
}

func strategyProblem(field, format string, args ...any) error {
	return &Problem{
		Type: "urn:ops-meta:invalid-strategy", Title: "The strategy is not valid", Status: 422,
		Detail: "strategy: " + field + ": " + fmt.Sprintf(format, args...), Field: field,
	}
}
