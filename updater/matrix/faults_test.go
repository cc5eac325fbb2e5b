package matrix

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is what strikes the host while the sidecar, or its child, stands at a point.
type fault struct {
	name   string
	why    func(s step, point string) string // not tried there; nil: everywhere
	action string                            // of the point; wait unless said
	strike func(*cell)                       // with a process at the point
	lift   func(*cell)                       // nil: it is over at once
	ends   bool                              // the sidecar with it; it is started again
	silent bool                              // heartbeats cannot get through meanwhile
	locks  bool                              // a process that has no connection yet gets none meanwhile
}

func inChild(_ step, point string) string {
	if strings.HasPrefix(point, "sidecar.") || strings.HasPrefix(point, "takeover.") {
		return "no child is at work there"
	}
	return ""
}

var faults = []fault{
	{name: "kill-sidecar", ends: true, strike: func(c *cell) { c.l.Kill() }},
	{name: "kill-child", why: inChild, strike: func(c *cell) { _ = syscall.Kill(c.fault.Pid(), syscall.SIGKILL) }},
	{
		name: "error", action: "error",
		why: func(_ step, point string) string {
			if strings.HasPrefix(point, "child.") && strings.HasSuffix(point, ".before") {
				return ""
			}
			return "an error comes of a child's job as a whole"
		},
		strike: func(*cell) {},
	},
	{
		name:   "hang",
		strike: func(c *cell) { c.l.Hang(c.agent(), true); c.l.Server.Silence(true) },
		lift:   func(c *cell) { c.l.Hang(c.agent(), false); c.l.Server.Silence(false) },
	},
	{name: "no-space", strike: func(c *cell) { c.l.Disk.Fill() }, lift: func(c *cell) { c.l.Disk.Mend() }},
	{name: "no-space-var", strike: func(c *cell) { c.l.Var.Fill() }, lift: func(c *cell) { c.l.Var.Mend() }},
	{name: "no-inodes", strike: func(c *cell) { c.l.Disk.UseInodes() }, lift: func(c *cell) { c.l.Disk.Mend() }},
	{name: "no-inodes-var", strike: func(c *cell) { c.l.Var.UseInodes() }, lift: func(c *cell) { c.l.Var.Mend() }},
	{name: "read-only", strike: func(c *cell) { c.l.Disk.MakeReadOnly() }, lift: func(c *cell) { c.l.Disk.Mend() }},
	{name: "read-only-var", strike: func(c *cell) { c.l.Var.MakeReadOnly() }, lift: func(c *cell) { c.l.Var.Mend() }},
	{name: "corrupt-journal", ends: true, strike: corruptJournal},
	{
		name: "corrupt-version", ends: true, strike: corruptVersion,
		why: func(s step, _ string) string {
			if s.name == "self-rollback" {
				return "there is none before another version has taken over"
			}
			return ""
		},
	},
	{
		name: "corrupt-takeover", ends: true, strike: corruptTakeover,
		why: func(s step, _ string) string {
			if s.agent == "" {
				return "the sidecar itself stays as it is"
			}
			return ""
		},
	},
	{name: "reboot", ends: true, strike: func(c *cell) { c.l.Reboot(true) }},
	{
		name: "reboot-full-disk", ends: true,
		strike: func(c *cell) { c.l.Reboot(false); c.l.Disk.Fill() },
		lift:   func(c *cell) { c.l.Disk.Mend() },
	},
	{name: "server-gone", silent: true, strike: func(c *cell) { c.l.Server.Vanish(true) }, lift: func(c *cell) { c.l.Server.Vanish(false) }},
	{name: "server-lying", silent: true, strike: func(c *cell) { c.l.Server.Lie(c.lie(), forge) }, lift: func(c *cell) { c.l.Server.Lie(nil, nil) }},
	{name: "fork-refused", strike: func(c *cell) { c.l.RefuseForks() }, lift: func(c *cell) { c.l.LiftForks() }},
	{name: "files-exhausted", locks: true, strike: exhaustFiles, lift: func(c *cell) {
		for _, lift := range c.lifts {
			lift()
		}
	}},
}

func exhaustFiles(c *cell) {
	// A watcher is nobody's child.
	pids := append(c.l.Children(), c.l.Pid(), c.fault.Pid())
	slices.Sort(pids)
	for _, pid := range slices.Compact(pids) {
		c.lifts = append(c.lifts, c.l.ExhaustFiles(pid))
	}
}

// garbage is what damage leaves of a file.
func (c *cell) garbage(whole []byte) []byte {
	return [][]byte{
		whole[:len(whole)/2],
		make([]byte, max(len(whole), 16)),
		{},
		[]byte("\xff\xfe{]"),
	}[c.rand.IntN(4)]
}

func corruptJournal(c *cell) {
	c.l.Kill()
	path := c.l.Path("var/journal/" + c.agent() + ".json")
	whole, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	must(c.t, os.WriteFile(path, c.garbage(whole), 0o600))
}

func corruptVersion(c *cell) {
	c.l.Kill()
	for _, dir := range c.agentDirs() {
		path := filepath.Join(dir, ".version")
		whole, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		must(c.t, err)
		must(c.t, os.WriteFile(path, [][]byte{make([]byte, len(whole)), {}, []byte("../../../etc"), []byte("9.9.9")}[c.rand.IntN(4)], 0o644))
	}
}

// lie is what a server answers that is none, or one that was broken into.
func (c *cell) lie() func(http.ResponseWriter) bool {
	lies := []struct {
		status int
		kind   string
		body   string
	}{
		{http.StatusOK, "text/html", "<html>log in first</html>"},
		{http.StatusInternalServerError, "application/json", `{"error": "no"}`},
		{http.StatusOK, "application/json", `{"desiredAgents": [{"name": "../../etc", "version": "1", "cmd": "start"}`},
		{http.StatusOK, "application/json", `{"desiredAgents": [{"name": "` + c.agent() + `", "version": "../../../etc", "tarball": "http://127.0.0.1:1", "md5": "0", "cmd": "start"}, {"name": "bystander", "version": "1.0.0", "cmd": "dance"}]}`},
	}
	chosen := lies[c.rand.IntN(len(lies))]
	return func(w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", chosen.kind)
		w.WriteHeader(chosen.status)
		_, _ = w.Write([]byte(chosen.body))
		return true
	}
}

// forge serves another release than was promised.
func forge(path string, content []byte) []byte {
	if !strings.HasSuffix(path, ".tar.gz") {
		return content
	}
	other := append([]byte(nil), content...)
	other[len(other)/2] ^= 0xff
	return other
}

// notTried are faults and steps that no cell tries, and why.
var notTried = []struct{ what, why string }{
	{"a clock that is put back under a running sidecar", "one host of a laboratory has no clock of its own; after a reboot, what was written lies an hour in the future, which is the same to who reads it. Clocks that jump meanwhile are tested with a clock of the test's"},
	{"a child that hangs in a system call", "what hangs is what a child waits for: a script, a server. A child that says nothing is given up after its patience, up to ten minutes, which a cell cannot wait for"},
	{"a disk that answers with EIO, or not at all", "no device that fails on purpose is to be had where this runs"},
}

// hold is how long a fault lasts at most that nobody notices.
const hold = 3 * time.Second
