package matrix

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/meta"
)

// cut is what a power cut at one moment of an upgrade leaves.
type cut struct {
	name string
	left *node
}

// TestI1I2I4I5PowerLossDuringAnUpgrade records what a sidecar and its children write,
// sync, rename and remove in an upgrade, cuts that off after every call, drops what was
// not synced, and starts a sidecar on what is left. All cuts that leave something else
// are tried with OPS_UPDATER_POWERLOSS=all, some of them otherwise.
func TestI1I2I4I5PowerLossDuringAnUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: hosts that lose power")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("NOT TESTED: power loss needs strace")
		}
		t.Skip("SKIPPED: power loss needs strace")
	}
	built := program(t)
	recorded := recordUpgrade(t, built)
	cuts := recorded.cuts
	all := len(cuts)
	if os.Getenv("OPS_UPDATER_POWERLOSS") != "all" {
		cuts = slices.Concat(spread(cuts, string(dropped), 2), spread(cuts, string(emptied), 2))
	}
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, 6)
	for _, one := range cuts {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			t.Run(one.name, func(t *testing.T) { comeBack(t, built, recorded, one) })
		})
	}
	t.Logf("%d calls, %d different remains, %d tried", recorded.calls, all, len(cuts))
}

// spread are n of the cuts of that loss, from the beginning to the end.
func spread(cuts []cut, of string, n int) (some []cut) {
	cuts = slices.DeleteFunc(slices.Clone(cuts), func(c cut) bool { return !strings.HasSuffix(c.name, "-"+of) })
	for i := range min(n, len(cuts)) {
		some = append(some, cuts[(2*i+1)*len(cuts)/(2*n)])
	}
	return some
}

type recording struct {
	dir, url string
	calls    int
	cuts     []cut
}

// recordUpgrade has a host go from 1.0.0 to 1.0.1.
func recordUpgrade(t *testing.T, built *hostlab.Sidecar) recording {
	t.Helper()
	l := hostlab.New(t, hostlab.Spec{Sidecar: built})
	runs := func(version string) func() bool {
		return func() bool {
			a := l.Server.Last("falcon")
			return a.Version == version && a.Phase == meta.PhaseIdle && a.Status == meta.StatusStarted
		}
	}
	l.Server.Want(l.Publish("falcon", "1.0.0", hostlab.Habits{}))
	l.Start(nil)
	l.Await("1.0.0 runs", runs("1.0.0"))
	root := newNode(os.ModeDir | 0o755)
	trace := l.Path("ctl/trace")
	args := []string{"-f", "-qq", "-y", "-x", "-s", "4000000", "-e", "trace=" + traced, "-o", trace}
	for _, pid := range append(l.Children(), l.Pid()) {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	recorder := exec.Command("strace", args...)
	must(t, recorder.Start())
	l.Await("the recorder is attached", func() bool {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.Pid()))
		return !strings.Contains(string(status), "TracerPid:\t0\n")
	})
	for _, name := range []string{"disk", "var"} {
		n, err := readNode(l.Path(name))
		must(t, err)
		root.entries[name] = n
	}
	root.syncAll()
	l.Server.Want(l.Publish("falcon", "1.0.1", hostlab.Habits{}))
	l.Await("1.0.1 runs", runs("1.0.1"))
	l.End()
	must(t, recorder.Process.Signal(os.Interrupt))
	_ = recorder.Wait() // it says with which signal it ended

	r := &replay{top: l.Dir, root: root, open: map[string]string{}}
	out := recording{dir: l.Dir, url: l.Server.URL}
	f, err := os.Open(trace)
	must(t, err)
	defer func() { _ = f.Close() }()
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		must(t, r.line(lines.Text()))
		out.calls++
		for _, l := range []loss{dropped, emptied} {
			left := root.after(l)
			delete(left.entries["var"].entries, "app.log")
			if d := left.digest(); !seen[string(d[:])] {
				seen[string(d[:])] = true
				out.cuts = append(out.cuts, cut{fmt.Sprintf("%04d-%s", out.calls, l), left})
			}
		}
	}
	must(t, lines.Err())
	// The model has to have become what the disk is, or the cuts would be of something
	// that never was.
	now, err := readNode(l.Path("disk"))
	must(t, err)
	if diff := differ("disk", root.entries["disk"], now); len(diff) > 0 {
		t.Fatalf("the record does not lead to what is on the disk: %q", diff)
	}
	return out
}

// differ lists the paths at which two trees differ.
func differ(path string, a, b *node) (paths []string) {
	if a == nil || b == nil || a.mode != b.mode || string(a.data) != string(b.data) {
		return []string{path}
	}
	both := maps.Clone(a.entries)
	maps.Copy(both, b.entries)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		paths = append(paths, differ(path+"/"+name, a.entries[name], b.entries[name])...)
	}
	return paths
}

// comeBack starts a sidecar on what a power cut left.
func comeBack(t *testing.T, built *hostlab.Sidecar, from recording, what cut) {
	c := &cell{t: t, l: hostlab.New(t, hostlab.Spec{Sidecar: built}), rand: rand.New(rand.NewPCG(seed, 0))}
	say := strings.NewReplacer(from.dir, c.l.Dir, from.url, c.l.Server.URL)
	for _, name := range []string{"disk", "var"} {
		must(t, what.left.entries[name].write(c.l.Path(name), say))
	}
	c.judgeVersions("after the power cut")
	c.outside = c.filesOutside()
	c.wanted = c.falcon("1.0.1", hostlab.Habits{})
	c.l.Server.Want(c.wanted)
	c.l.Reboot(false)
	c.l.Start(nil)
	e := end{version: "1.0.1", place: "disk/work", phases: []meta.Phase{meta.PhaseIdle}}
	c.settle(e)
	c.judgeVersions("at rest")
	c.judgeRunning(e)
	c.judgeFiles()
}
