package api

import (
	"fmt"
	"time"
)

// What a rollout does by itself when it has failed.
const (
	OnFailurePause    = "pause"
	OnFailureAbort    = "abort"
	OnFailureRollback = "rollback"
)

// DefaultDeadline is how many seconds a granted host has when its strategy
// does not say.
const DefaultDeadline = 900

// MaxStages is how many stages a strategy may have.
const MaxStages = 50

// DefaultProbation is how many seconds a host watches a new version when
// nobody says.
const DefaultProbation = 30

// manyHosts is from how many hosts on a quarter of them is a stage of its own.
const manyHosts = 8

// DefaultStrategy is how a deploy to so many hosts (0: not known) rolls out
// when its agent names no strategy: one host first, then a quarter, then all,
// each stage healthy for soak seconds before the next. Few hosts need no
// quarter, and for one alone there is nobody to wait for. The first failure
// pauses it.
func DefaultStrategy(hosts, soak int) Strategy {
	canary, quarter, all := Stage{Name: "canary", Count: 1, Soak: soak}, Stage{Name: "quarter", Percent: 25, Soak: soak}, Stage{Name: "all", Percent: 100}
	s := Strategy{Name: "default", Stages: []Stage{canary, quarter, all}, OnFailure: OnFailurePause}
	switch {
	case hosts == 1:
		s.Stages = []Stage{all}
	case hosts > 0 && hosts < manyHosts:
		s.Stages = []Stage{canary, all}
	}
	return s
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

// StageName is what stage i is called: by its own name, or by its group, or by its
// place.
func (s Strategy) StageName(i int) string {
	switch {
	case i < 0 || i >= len(s.Stages):
		return fmt.Sprint(i + 1)
	case s.Stages[i].Name != "":
		return s.Stages[i].Name
	case s.Stages[i].Group != "":
		return s.Stages[i].Group
	}
	return fmt.Sprint(i + 1)
}

// validateOrder checks what stages say together: within a group each is larger
// than the one before and counts come before percents, and the last stage
// leaves nobody out, since completion gives the release to every host.
func validateOrder(stages []Stage) error {
	if len(stages) > MaxStages {
		return fieldErr("stages", "are %d: at most %d", len(stages), MaxStages)
	}
	counts, percents := map[string]int{}, map[string]float64{}
	for i, st := range stages {
		if st.Count > 0 && st.Count <= counts[st.Group] || st.Percent > 0 && st.Percent <= percents[st.Group] {
			return fieldErr(fmt.Sprintf("stages[%d]", i), "is not larger than a stage before it: counts and percents are cumulative")
		}
		if st.Count > 0 && percents[st.Group] > 0 {
			return fieldErr(fmt.Sprintf("stages[%d]", i), "is a count after a percent of the same hosts: put counts first")
		}
		counts[st.Group] = max(counts[st.Group], st.Count)
		percents[st.Group] = max(percents[st.Group], st.Percent)
	}
	if last := stages[len(stages)-1]; last.Percent != 100 || last.Group != "" {
		return fieldErr(fmt.Sprintf("stages[%d]", len(stages)-1),
			"is the last stage and must be percent: 100 without a group, because completion gives the release to every host")
	}
	return nil
}
