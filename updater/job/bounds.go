package job

import (
	"fmt"
	"strings"
	"time"
)

// Timeouts bound the runs of a control script.
type Timeouts struct {
	Status time.Duration `json:"status"` // also pid and health
	Start  time.Duration `json:"start"`  // until status says started
	Stop   time.Duration `json:"stop"`   // until status says stoped
}

// wholeAnswer is how long a question may take at least within a start or stop,
// however short that is: one that we cut short is no evidence.
const wholeAnswer = 10 * time.Second

// StatusWithin is the timeout of questions within an act that nothing
// interrupts: the end of the sidecar must not wait much longer than the act.
func (t Timeouts) StatusWithin(act time.Duration) time.Duration {
	return min(t.Status, max(act, wholeAnswer))
}

// Prune says what may stay.
type Prune struct {
	Keep   []string `json:"keep"`             // versions
	Count  int      `json:"count"`            // of versions; the newest others are kept up to it
	Drop   string   `json:"drop,omitempty"`   // a version that goes in any case but when .version names it
	Wanted string   `json:"wanted,omitempty"` // the version whose half-done download may be resumed
}

// Stopped is what it took to stop an agent.
type Stopped struct {
	Killed []int  `json:"killed,omitempty"` // processes that had to be killed, with their groups where those are the agent's
	Why    string `json:"why,omitempty"`    // they had to be, or what else control stop did not do
	Spared string `json:"spared,omitempty"` // strangers that control pid names, which were left alone
}

// String says what control stop did not do, or nothing.
func (s Stopped) String() string {
	if s.Why == "" {
		return s.Spared
	}
	force := "no process of it was left to kill"
	if len(s.Killed) > 0 {
		force = "killed " + strings.Trim(fmt.Sprint(s.Killed), "[]")
	}
	said := "its control script did not stop it, " + force + ": " + s.Why
	if s.Spared != "" {
		said += "; " + s.Spared
	}
	return said
}
