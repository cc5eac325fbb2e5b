package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

func TestSkipAndRetryByState(t *testing.T) {
	now := time.Unix(1e9, 0)
	in := func(state api.RolloutState, stage int) api.Rollout {
		return api.Rollout{
			ID: "r1", State: state, Stage: stage, Strategy: api.Strategy{Stages: []api.Stage{{Count: 1}, {Percent: 50, Approval: true}, {Percent: 100, Approval: true}}},
			Progress: []api.StageCount{{Granted: 1, Failed: 1}, {}, {}},
		}
	}
	cases := []struct {
		name        string
		r           api.Rollout
		again       int
		skip, retry bool // possible
	}{
		{"draft", in(api.RolloutDraft, 0), 1, false, false},
		{"waiting for approval", in(api.RolloutAwaitingApproval, 1), 1, true, false},
		{"running", in(api.RolloutRunning, 0), 1, true, true},
		{"running with nothing failed", in(api.RolloutRunning, 0), 0, true, false},
		{"running in the last stage", in(api.RolloutRunning, 2), 1, false, true},
		{"paused in the last stage", in(api.RolloutPaused, 2), 1, true, true},
		{"paused", in(api.RolloutPaused, 0), 1, true, true},
		{"inconclusive", in(api.RolloutInconclusive, 1), 1, true, true},
		{"going back", in(api.RolloutRollingBack, 1), 1, false, false},
		{"aborted", in(api.RolloutAborted, 1), 1, false, false},
		{"completed", in(api.RolloutCompleted, 2), 1, false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, s, err := rollout.Skip(c.r, now)
			if (err == nil) != c.skip || c.skip && (r.State != api.RolloutRunning || r.Stage != 2 || s.Reason != rollout.ReasonSkipped || r.FailedBefore != 1) {
				t.Errorf("skip: %+v %+v %v", r, s, err)
			}
			r, s, err = rollout.Retry(c.r, c.again, now)
			if (err == nil) != c.retry || c.retry && (r.State != api.RolloutRunning || r.Stage != c.r.Stage || s.Reason != rollout.ReasonRetried || r.RetriedAt == nil) {
				t.Errorf("retry: %+v %+v %v", r, s, err)
			}
		})
	}
}

func TestAFailureFromBeforeARetryIsNoVerdict(t *testing.T) {
	retried := time.Unix(1e9, 0)
	r := api.Rollout{ID: "r1", Version: "2.0", RetriedAt: &retried}
	for name, c := range map[string]struct {
		since int64
		want  string
	}{
		"before":             {1e9 - 1, ""},
		"after":              {1e9 + 5, api.OutcomeFailed},
		"it says not since":  {0, api.OutcomeFailed},
		"in the same second": {1e9, ""},
	} {
		v := rollout.Judge(r, api.Grant{}, rollout.Report{Agent: api.HostAgent{Phase: "failed", Rollout: "r1", Since: c.since}, At: retried})
		if v.Outcome != c.want {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Who retries while hosts are in flight has seen none of those fail: what had
// failed before and is told late does not count, what fails later does, and the
// retry says how many it may be.
func TestARetryForgivesOnlyWhatHadFailedBefore(t *testing.T) {
	now := time.Unix(1e9, 0)
	paused := api.Rollout{
		ID: "r1", Version: "2.0", State: api.RolloutPaused, Strategy: api.Strategy{Stages: []api.Stage{{Percent: 100}}},
		Progress: []api.StageCount{{Granted: 10, Succeeded: 4}}, // two that had failed are open again
	}
	alone := paused
	alone.Progress = []api.StageCount{{Granted: 6, Succeeded: 4}}
	if _, s, err := rollout.Retry(alone, 2, now); err != nil || s.Message != "2 failed hosts try again" {
		t.Errorf("with nobody else in flight: %q, %v", s.Message, err)
	}
	r, s, err := rollout.Retry(paused, 2, now)
	if err != nil || !strings.Contains(s.Message, "; 4 others are still in flight") {
		t.Fatalf("with others in flight: %q, %v", s.Message, err)
	}
	before := api.Grant{Rollout: "r1", Granted: now.Add(-time.Minute)}
	failing := func(since time.Time) rollout.Verdict {
		return rollout.Judge(r, before, rollout.Report{Agent: api.HostAgent{Phase: "rolledBack", Rollout: "r1", Since: since.Unix()}, At: now.Add(time.Minute)})
	}
	if v := failing(now.Add(-time.Second)); v.Outcome != "" {
		t.Errorf("told late: %+v", v)
	}
	if r, s := judged(r, 0, "", failing(now.Add(time.Second)), now); r.State != api.RolloutPaused || s.Reason != rollout.ReasonTooManyFailures {
		t.Errorf("failed after the retry: %s, %+v", r.State, s)
	}
}
