package process

import "time"

// Polling starts quick, because most agents stop and start within
// milliseconds, and calms down for the slow ones.
const (
	pollFirst = 20 * time.Millisecond
	pollLast  = 200 * time.Millisecond
)

// PollUntil asks done until it says so, or patience is over. It asks at least
// once, and a last time at the end.
func PollUntil(patience time.Duration, done func() bool) bool {
	deadline := time.Now().Add(patience)
	for pause := pollFirst; ; pause = min(pause*3/2, pollLast) {
		if done() {
			return true
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		<-time.After(min(pause, left))
	}
}
