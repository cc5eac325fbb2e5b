package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/job"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestCurrentReadsOneTrimmedLineAndNothingElse(t *testing.T) {
	cases := []struct {
		name    string
		make    func(path string) error
		want    string
		problem string
	}{
		{"none", func(string) error { return nil }, "", ""},
		{"plain", text("1.0.0"), "1.0.0", ""},
		{"newline of an old writer", text("1.0.0\r\n"), "1.0.0", ""},
		{"a path", text("../../etc"), "", ""},
		{"empty, as a power cut leaves it", text(""), "", ""},
		{"NULs, as a power cut leaves them", text("\x00\x00\x00"), "", ""},
		{"long", text(strings.Repeat("1", 300)), "", "300 bytes"},
		{"link", func(p string) error { return os.Symlink("/etc/hostname", p) }, "", "too many levels"},
		{"FIFO", func(p string) error { return syscall.Mkfifo(p, 0o644) }, "", "regular file"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, "", "regular file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := agent.Dir{Path: t.TempDir(), Name: "falcon"}
			if err := c.make(filepath.Join(d.Path, ".version")); err != nil {
				t.Fatal(err)
			}
			got, err := d.Current()
			if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Fatalf("got %q, %v; want %q, %q", got, err, c.want, c.problem)
			}
		})
	}
}

func text(s string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(s), 0o644) }
}

func TestI1ActivateRefusesWhatIsNotComplete(t *testing.T) {
	cases := []struct {
		name string
		make func(t *testing.T, dir string)
		good bool
	}{
		{"complete", func(t *testing.T, dir string) { agenttest.Habits{}.Place(t, dir, "1.0.1") }, true},
		{"missing", func(*testing.T, string) {}, false},
		{"without control", func(t *testing.T, dir string) { agenttest.Write(t, dir+"/1.0.1/app", "x", 0o755) }, false},
		{"a file", func(t *testing.T, dir string) { agenttest.Write(t, dir+"/1.0.1", "x", 0o755) }, false},
		{"a link", func(t *testing.T, dir string) {
			if err := os.Symlink("1.0.0", dir+"/1.0.1"); err != nil {
				t.Fatal(err)
			}
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := agent.Dir{Path: t.TempDir(), Name: "falcon"}
			agenttest.Habits{}.Place(t, d.Path, "1.0.0")
			if err := d.Activate("1.0.0"); err != nil {
				t.Fatal(err)
			}
			c.make(t, d.Path)
			err := d.Activate("1.0.1")
			want := "1.0.0"
			if c.good {
				want = "1.0.1"
			}
			if (err == nil) != c.good || !c.good && !errors.Is(err, agent.ErrIncomplete) {
				t.Fatalf("activate: %v", err)
			}
			if data, err := os.ReadFile(d.Path + "/.version"); err != nil || string(data) != want {
				t.Fatalf(".version holds %q, %v; want %q without a newline", data, err, want)
			}
		})
	}
}

func TestI5PruneKeepsWhatIsNeeded(t *testing.T) {
	d := agent.Dir{Path: t.TempDir(), Name: "falcon"}
	for i, v := range []string{"1.0.0", "1.0.1", "1.0.2", "1.0.3"} {
		agenttest.Habits{}.Place(t, d.Path, v)
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(d.Path, v), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Activate("1.0.2"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"data/keep.db", ".staging-1.0.4/app", ".trash-0.9/app", ".part-1.0.4", "..version.tmp-12", ".part-1.0.9", ".part-1.0.9.json", "notes.txt"} {
		agenttest.Write(t, filepath.Join(d.Path, f), "x", 0o644)
	}
	removed, err := d.Prune(job.Prune{Keep: []string{"1.0.0"}, Count: 3, Wanted: "1.0.9"})
	if err != nil || !slices.Equal(removed, []string{"1.0.1"}) {
		t.Fatalf("removed %v, %v; want 1.0.1 only: 1.0.0 is kept, 1.0.2 runs, 1.0.3 is the newest other", removed, err)
	}
	want := []string{".part-1.0.9", ".part-1.0.9.json", ".version", "1.0.0", "1.0.2", "1.0.3", "data", "notes.txt"}
	if got := list(t, d.Path); !slices.Equal(got, want) {
		t.Fatalf("left %v; want %v", got, want)
	}
	removed, err = d.Prune(job.Prune{Keep: []string{"1.0.0", "1.0.3"}, Count: 9, Drop: "1.0.3"})
	if err != nil || !slices.Equal(removed, []string{"1.0.3"}) {
		t.Fatalf("removed %v, %v; want the dropped 1.0.3", removed, err)
	}
	if removed, err = d.Prune(job.Prune{Drop: "1.0.2"}); err != nil || !slices.Equal(removed, []string{"1.0.0"}) {
		t.Fatalf("removed %v, %v; want 1.0.0, never the running 1.0.2", removed, err)
	}
}

// TestI3PruneKeepsEveryVersionWhileVersionIsDamaged: which of them runs is not known.
func TestI3PruneKeepsEveryVersionWhileVersionIsDamaged(t *testing.T) {
	for name, damage := range map[string]string{"empty": "", "zeros": "\x00\x00\x00\x00\x00", "no version": "../../../etc", "not there": "9.9.9"} {
		t.Run(name, func(t *testing.T) {
			d := agent.Dir{Path: t.TempDir(), Name: "falcon"}
			for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
				agenttest.Habits{}.Place(t, d.Path, v)
			}
			agenttest.Write(t, filepath.Join(d.Path, ".version"), damage, 0o644)
			agenttest.Write(t, filepath.Join(d.Path, ".staging-1.0.3/app"), "x", 0o644)
			if removed, err := d.Prune(job.Prune{Keep: []string{"1.0.0"}, Count: 1}); err != nil || len(removed) > 0 {
				t.Fatalf("removed %v, %v", removed, err)
			}
			if want, got := []string{".version", "1.0.0", "1.0.1", "1.0.2"}, list(t, d.Path); !slices.Equal(got, want) {
				t.Fatalf("left %v; want %v", got, want)
			}
			if removed, err := d.Prune(job.Prune{Drop: "1.0.2", Count: 3}); err != nil || !slices.Equal(removed, []string{"1.0.2"}) {
				t.Fatalf("removed %v, %v; want what is dropped", removed, err)
			}
		})
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestObserve(t *testing.T) {
	r := newRunner(t, agenttest.Habits{})
	o, err := r.Observe(t.Context())
	if err != nil || o.Version != "" || o.Status.String() != "unknown: nothing is installed" {
		t.Fatalf("before activation: %+v, %v", o, err)
	}
	if err := r.Dir.Activate("1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
	o, err = r.Observe(t.Context())
	if err != nil || o.Version != "1.0.0" || !o.Complete || !o.Status.Started() || o.Pid == 0 || !slices.Equal(o.Versions, []string{"1.0.0"}) {
		t.Fatalf("running: %+v, %v", o, err)
	}
}

func TestHealthCountsOnlyWhereTheScriptHasIt(t *testing.T) {
	cases := []struct {
		name      string
		habits    agenttest.Habits
		has, sick bool
	}{
		{"no verb", agenttest.Habits{}, false, false},
		{"only mentioned", agenttest.Habits{BeforeStart: "# see /health) of the server\n\techo health is fine >/dev/null"}, false, false},
		{"healthy", agenttest.Habits{Health: "exit 0"}, true, false},
		{"sick", agenttest.Habits{Health: "echo 'queue full'; exit 1"}, true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, c.habits)
			if err := r.Start(t.Context(), "1.0.0"); err != nil {
				t.Fatal(err)
			}
			p := r.Probe(t.Context(), "1.0.0")
			if p.HasHealth != c.has || (p.Unhealthy != "") != c.sick {
				t.Fatalf("probe %+v", p)
			}
			if c.sick && !strings.Contains(p.Unhealthy, "queue full") {
				t.Fatalf("reason %q", p.Unhealthy)
			}
		})
	}
}
