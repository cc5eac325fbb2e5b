package control

import "fmt"

// maxTasks is how many processes and threads a control script, and what it
// starts while it runs, may have at once, unless the [Call] says otherwise: a
// script that forks without end must not take the host with it.
const maxTasks = 1024

// crowd is what is to be done about what a control script left running.
type crowd int

const (
	crowdLives crowd = iota // it started a daemon, which lives on without a bound
	crowdEnds               // it forks without end
)

// leftOver is what is known when the script has ended.
type leftOver struct {
	tasks, limit int
	refused      bool // it wanted more than limit
	failed       bool // it did not end well
	killed       bool // because its time was over
}

// judgeCrowd tells a daemon with many threads from what forks without end: that has
// much left, and was refused more or failed because of it.
func (l leftOver) judgeCrowd() crowd {
	much := l.tasks >= l.limit/2
	if l.tasks >= l.limit || l.refused && (l.killed || much) || l.failed && much {
		return crowdEnds
	}
	return crowdLives
}

func crowdedMessage(limit int) string {
	return fmt.Sprintf("it had %d processes and threads at once, more than a control script may have, and they were killed", limit)
}
