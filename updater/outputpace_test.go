package updater

import (
	"testing"
	"time"
)

func TestI5TheMoreAnAgentWritesTheSoonerItsOutputIsCutAgain(t *testing.T) {
	for name, c := range map[string]struct {
		freed int64
		since time.Duration
		want  time.Duration
	}{
		"nothing":                     {0, time.Minute, outputEvery},
		"little, in a long time":      {2 << 20, time.Minute, outputEvery},
		"twice what it may":           {8 << 20, outputEvery, outputEvery / 2},
		"more than can be kept up":    {1 << 30, outputEvery, outputSoonest},
		"much, right after the last":  {8 << 20, time.Millisecond, outputSoonest},
		"as much as it may, at once":  {outputBetween, outputSoonest, outputSoonest},
		"just what it may until then": {outputBetween, outputEvery, outputEvery},
	} {
		if got := pauseForOutput(c.freed, c.since); got != c.want {
			t.Errorf("%s: %v; want %v", name, got, c.want)
		}
	}
}
