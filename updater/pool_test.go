package updater_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// children counts the live children of the process.
func children(t *testing.T, pid int) (n int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(pid) {
			n++
		}
	}
	return n
}

// TestManyAgentsOnProbationShareFewChildren: however many are looked at, and
// none is left while nothing is asked; heartbeats go on meanwhile.
func TestManyAgentsOnProbationShareFewChildren(t *testing.T) {
	if os.Getenv("OPS_UPDATER_MATRIX") != "all" {
		t.Skip("SKIPPED: on a loaded machine each agent on probation has a child at work all the time, and rightly; make matrix tries it")
	}
	// As many as two cores can look at every two seconds and be idle in between.
	const agents = 8
	s := newSidecar(t)
	var want []meta.DesiredAgent
	for i := range agents {
		a := s.origin.publish(t, fmt.Sprintf("agent-%02d", i), "1.0.0", agenttest.Habits{})
		a.Probation = 3600
		want = append(want, a)
	}
	s.server.want(want...)
	s.start("")
	onProbation := func() (n int) {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		for _, a := range s.server.heard {
			if a.Phase == meta.PhaseProbation {
				n++
			}
		}
		return n
	}
	s.await("all are on probation", func() bool { return onProbation() == agents })
	beats := s.server.count()
	s.await("heartbeats go on", func() bool { return onProbation() == agents && s.server.count() > beats+3 })
	s.await("fewer children than agents", func() bool { return children(t, s.cmd.Process.Pid) < agents }) // each held one through its probation
}
