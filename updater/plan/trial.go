package plan

import (
	"fmt"
	"time"
)

// MaxDoubts is how many looks in a row may fail to tell, or may find a version
// sick that was healthy before: a loaded host answers late.
const (
	MaxDoubts  = 3
	maxStopped = 2
)

// Trial judges a version that was just started.
//
// It fails when status says stoped twice in a row (one look may fall into the
// moment in which a pid file is rewritten), when the pid changes, and after
// three looks in a row that could not tell. Health counts only where the
// control script has the verb, and may take its time: a version that was never
// healthy fails at the end, one that was healthy fails after three looks in a
// row that found it sick.
type Trial struct {
	Ends    time.Time
	pid     int
	stopped int
	doubts  int
	sick    int
	healthy bool
}

// Verdict is what the looks at a version on probation came to.
type Verdict int

// The verdicts.
const (
	Undecided Verdict = iota
	Proved
	Disproved
)

// Judge takes one look into account.
func (t *Trial) Judge(p Probe, now time.Time) (Verdict, string) {
	over := !now.Before(t.Ends)
	switch {
	case p.Status.Stopped():
		if t.stopped++; t.stopped >= maxStopped {
			return Disproved, "it stopped during probation"
		}
		return Undecided, ""
	case !p.Status.Started():
		if t.doubts++; t.doubts >= MaxDoubts {
			return Disproved, fmt.Sprintf("its status could not be told %d times in a row during probation: %s", t.doubts, p.Status)
		}
		return Undecided, ""
	case p.Pid != 0 && t.pid != 0 && p.Pid != t.pid:
		return Disproved, fmt.Sprintf("it was restarted during probation: its pid changed from %d to %d", t.pid, p.Pid)
	}
	t.doubts, t.stopped = 0, 0
	t.pid = max(t.pid, p.Pid)
	if p.HasHealth {
		if v, why := t.judgeHealth(p, over); v == Disproved {
			return v, why
		}
	}
	if over && t.sick == 0 {
		return Proved, ""
	}
	return Undecided, ""
}

func (t *Trial) judgeHealth(p Probe, over bool) (Verdict, string) {
	if p.Unhealthy == "" {
		t.healthy, t.sick = true, 0
		return Undecided, ""
	}
	t.sick++
	if t.healthy && t.sick >= MaxDoubts || !t.healthy && over {
		return Disproved, "it is not healthy: " + p.Unhealthy
	}
	return Undecided, ""
}
