package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// patience is how long a test waits for what must come; far more than it takes.
const patience = time.Minute

// eventually waits for what must come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func outputOf(t *testing.T, r agent.Runner) (size int64, end string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir.Path, ".control.out"))
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(data)), string(data[max(0, len(data)-1000):])
}

func TestI5TheOutputThatADaemonWritesForeverIsCut(t *testing.T) {
	r := newRunner(t, agenttest.Habits{Output: "2>&1", App: `
	head -c 5000000 /dev/zero | tr '\0' x
	echo; echo last words; touch var/written
	while [ ! -e var/go-on ]; do sleep 0.05; done
	echo after the cut; touch var/done`})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	exists := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(r.Dir.Path, "1.0.0/var", name)); return err == nil }
	}
	eventually(t, "the agent wrote its 5 MB", exists("written"))
	if freed := r.Dir.LimitOutput(0); freed < 4<<20 {
		t.Fatalf("%d bytes were freed; want the output cut", freed)
	}
	if size, end := outputOf(t, r); size > 128<<10 || !strings.HasSuffix(end, "last words\n") {
		t.Errorf("after a cut %d bytes are left, ending %q; want little, with the last words", size, end)
	}
	agenttest.Write(t, filepath.Join(r.Dir.Path, "1.0.0/var/go-on"), "", 0o644)
	eventually(t, "the agent went on", exists("done"))
	if size, end := outputOf(t, r); size > 128<<10 || !strings.HasSuffix(end, "last words\nafter the cut\n") {
		t.Errorf("the agent went on behind a hole or lost its output: %d bytes, ending %q", size, end)
	}
}

func TestI5OutputIsBoundedAlsoWhereItsFileWasDeleted(t *testing.T) {
	r := newRunner(t, agenttest.Habits{Output: "2>&1", App: "while [ ! -e var/go-on ]; do sleep 0.05; done; head -c 5000000 /dev/zero; touch var/written"})
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Dir.Activate("1.0.0"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.Dir.Path, ".control.out")
	held, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	agenttest.Write(t, filepath.Join(r.Dir.Path, "1.0.0/var/go-on"), "", 0o644)
	eventually(t, "the agent wrote", func() bool { _, err := os.Stat(filepath.Join(r.Dir.Path, "1.0.0/var/written")); return err == nil })
	o, err := r.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Dir.LimitOutput(o.Pid)
	if fi, err := held.Stat(); err != nil || fi.Size() > 128<<10 {
		t.Errorf("%d bytes stay in use without a name, %v", fi.Size(), err)
	}
}

func TestOutputIsThrownAwayWhereSomethingElseHasItsName(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a FIFO":          func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"a directory":     func(p string) error { return os.Mkdir(p, 0o755) },
		"a link":          func(p string) error { return os.Symlink("elsewhere", p) },
		"a dangling link": func(p string) error { return os.Symlink("/nowhere/at/all", p) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{Output: "2>&1", App: "head -c 200000 /dev/zero"})
			if err := put(filepath.Join(r.Dir.Path, ".control.out")); err != nil {
				t.Fatal(err)
			}
			if err := r.Start(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Stop(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
		})
	}
}
