package process_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// newWitness knows an agent in /work/falcon, beside /work/eagle, whose start
// brought up process 100 in a session of its own.
func newWitness() process.Witness {
	processes := map[int]process.Process{
		100: {Pid: 100, Parent: 1, Session: 100, Group: 100, Birth: "1000", UID: 7},
		200: {Pid: 200, Parent: 100, Birth: "1100", UID: 7},
	}
	return process.Witness{
		Dirs: []string{"/work/falcon"}, Beside: "/work", Boot: "b", UID: 7,
		Note:    process.StartNote{Boot: "b", Began: 990, Pid: 100, Birth: "1000", Session: 100, SessionBirth: "1000", UID: 7},
		Self:    []process.Process{{Pid: 50}},
		Look:    func(pid int) (process.Process, bool) { p, alive := processes[pid]; return p, alive },
		Stale:   func(process.Process) string { return "" },
		IsAgent: func(dir string) bool { return dir == "/work/eagle" },
	}
}

func TestJudgeNeedsEvidenceForKinshipAndForStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		process process.Process
		change  func(*process.Witness)
		want    process.Kinship
		why     string
	}{
		"noted":                    {process: process.Process{Pid: 100, Birth: "1000", UID: 7}, want: process.Related},
		"its number, reused":       {process: process.Process{Pid: 100, Birth: "5000", UID: 7}, want: process.Stranger, why: "has nothing to do with process 100, which was noted when the agent was started"},
		"its grandchild":           {process: process.Process{Pid: 300, Parent: 200, Birth: "1200", UID: 7}, want: process.Related},
		"of its session":           {process: process.Process{Pid: 300, Parent: 1, Session: 100, Birth: "1200", UID: 7}, want: process.Related},
		"its program lies there":   {process: process.Process{Pid: 300, Program: "/work/falcon/1.0.0/app", UID: 7}, want: process.Related},
		"an argument lies there":   {process: process.Process{Pid: 300, Arguments: []string{"java", "-Dhome=/work/falcon/1.0.0"}, UID: 7}, want: process.Related},
		"a name that begins alike": {process: process.Process{Pid: 300, Arguments: []string{"/work/falcon-old/app"}, UID: 8}, want: process.Stranger, why: "belongs to another user"},
		"a path that begins alike": {process: process.Process{Pid: 300, Program: "/work/falcon-old/app", UID: 8}, want: process.Stranger, why: "belongs to another user"},
		"another agent's":          {process: process.Process{Pid: 300, Program: "/work/eagle/1.0.0/app", UID: 7}, want: process.Stranger, why: "belongs to what lies in /work/eagle"},
		"ourselves":                {process: process.Process{Pid: 50, Program: "/work/falcon/x", UID: 7}, want: process.Stranger, why: "runs the sidecar itself"},
		"the kernel's":             {process: process.Process{Pid: 300, Kernel: true}, want: process.Stranger, why: "is a thread of the kernel"},
		"the first":                {process: process.Process{Pid: 1}, want: process.Stranger, why: "is the system's first process"},
		"a thread of it":           {process: process.Process{Pid: 301, ThreadOf: 200, UID: 7}, want: process.Related},
		"nothing is known":         {process: process.Process{Pid: 300, Birth: "500", UID: 7}, change: func(w *process.Witness) { w.Note = process.StartNote{} }, want: process.Undecided},
		"younger than its pid file": {
			process: process.Process{Pid: 300, Birth: "500", UID: 7},
			change: func(w *process.Witness) {
				w.Note, w.Stale = process.StartNote{}, func(process.Process) string { return "var/app.pid" }
			},
			want: process.Stranger, why: "began after var/app.pid was written",
		},
		"noted on another boot": {process: process.Process{Pid: 100, Birth: "1000", UID: 7}, change: func(w *process.Witness) { w.Boot = "c" }, want: process.Stranger, why: "has nothing to do with process 100, which was noted when the agent was started"},
	} {
		w := newWitness()
		if c.change != nil {
			c.change(&w)
		}
		if kin, why := w.Judge(c.process); kin != c.want || why != c.why {
			t.Errorf("%s: %v, %q; want %v, %q", name, kin, why, c.want, c.why)
		}
	}
}
