package agent

import "fmt"

// maxTasks is how many processes and threads a control script, and what it
// starts while it runs, may have at once, unless [ControlJob] says otherwise: a
// script that forks without end must not take the host with it.
const maxTasks = 1024

// crowd is what is to be done about what a control script left running.
type crowd int

const (
	crowdLives crowd = iota // it started a daemon, which lives on without a bound
	crowdEnds               // it forks without end
)

// judgeCrowd decides when the script has ended: left is how many processes and
// threads are left of limit, refused that it wanted more.
func judgeCrowd(left, limit int, refused, timedOut bool) crowd {
	if refused && (timedOut || left >= limit/2) || left >= limit {
		return crowdEnds
	}
	return crowdLives
}

func crowded(limit int) string {
	return fmt.Sprintf("it had %d processes and threads at once, more than a control script may have, and they were killed", limit)
}
