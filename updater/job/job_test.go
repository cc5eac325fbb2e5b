package job_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/updater/job"
)

func TestWhatItTookToStopIsSaidForPeople(t *testing.T) {
	for want, s := range map[string]job.Stopped{
		"": {},
		"its control script did not stop it, killed 12 13: 1.0.0: it hangs":                            {Killed: []int{12, 13}, Why: "1.0.0: it hangs"},
		"its control script did not stop it, no process of it was left to kill: 1.0.0: no interpreter": {Why: "1.0.0: no interpreter"},
		"its control script did not stop it, killed 12: it hangs; 1.0.0 had stopped":                   {Killed: []int{12}, Why: "it hangs", Spared: "1.0.0 had stopped"},
		"1.0.0 had stopped": {Spared: "1.0.0 had stopped"},
	} {
		if s.String() != want {
			t.Errorf("%+v: %q; want %q", s, s, want)
		}
	}
}
