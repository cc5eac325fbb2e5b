package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/meta"
)

// The judge knows the host: files, processes, what the agents noted, the log, and what
// the server heard. It does not know how the sidecar works.

// agentDirs are the directories of the agent, wherever it was wanted.
func (c *cell) agentDirs() []string {
	dirs, err := filepath.Glob(c.l.Path("disk/*/" + c.agent()))
	must(c.t, err)
	return dirs
}

// complete are files that every version of the agent has.
func (c *cell) complete() []string {
	if c.isSelf() {
		return []string{"control", hostlab.SelfName}
	}
	return []string{"control", "app", "data/table"}
}

// judgeVersions: I1, .version names a complete version directory.
func (c *cell) judgeVersions(when string) {
	c.t.Helper()
	for _, broken := range c.brokenVersions() {
		c.t.Errorf("I1 %s: %s", when, broken)
	}
}

// brokenVersions says of each .version that names no complete version what is missing.
func (c *cell) brokenVersions() (broken []string) {
	for _, dir := range c.agentDirs() {
		text, err := os.ReadFile(filepath.Join(dir, ".version"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			broken = append(broken, err.Error())
			continue
		}
		for _, file := range c.complete() {
			if fi, err := os.Stat(filepath.Join(dir, string(text), file)); err != nil || fi.Size() == 0 || !meta.ValidName(string(text)) {
				broken = append(broken, fmt.Sprintf(".version in %s names %q, without %s: %v", dir, text, file, err))
			}
		}
	}
	return broken
}

// looksAgain is how long a host that has come to rest, as far as its last heartbeat says,
// may take to see by itself what a fault left, and to tell of it.
const looksAgain = 20 * time.Second

// judge looks at a host that has come to rest.
func (c *cell) judge(e end) {
	c.t.Helper()
	if c.strike.name == "corrupt-version" && c.step.base != nil {
		// In a place that the agent has left lies what the fault made of it.
		must(c.t, removeOthers(c.agentDirs(), filepath.Join(c.l.Path(e.place), c.agent())))
	}
	if c.isSelf() {
		c.judgeSelf(e)
	} else {
		c.judgeRunning(e)
	}
	c.l.AwaitFor(looksAgain, func() bool { return len(c.brokenVersions()) == 0 })
	c.judgeVersions("at rest")
	c.judgeFiles()
	c.judgeBystander()
	c.judgeTold()
}

func removeOthers(dirs []string, but string) (err error) {
	for _, dir := range dirs {
		if dir != but {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// judgeRunning: I2, I3.
func (c *cell) judgeRunning(e end) {
	c.t.Helper()
	var running []hostlab.Instance
	want := 1
	if e.stopped {
		want = 0
	}
	c.l.AwaitFor(5*time.Second, func() bool { running = c.l.Instances("falcon"); return len(running) == want })
	if len(running) != want {
		c.t.Fatalf("I2: %+v run; want %d", running, want)
	}
	for _, i := range running {
		if i.Version() != e.version || i.Place != filepath.Join(c.l.Path(e.place), c.agent(), e.version) {
			c.t.Errorf("I2: %s runs; want %s in %s", i.Place, e.version, e.place)
		}
		if e.user == "" {
			continue
		}
		if u, err := user.Lookup(e.user); err != nil || u.Uid != strconv.Itoa(i.UID) {
			c.t.Errorf("I2: it runs as %d; want %s: %v", i.UID, e.user, err)
		}
	}
	for _, name := range []string{"falcon", "bystander"} {
		for _, event := range c.l.Events(name) {
			if event.What == "two-at-once" {
				c.t.Errorf("I3: %s was started while another one ran: %+v", event.Place, c.l.Events(name))
			}
		}
	}
}

// maxDisk is what two versions and their keeping may take.
func (c *cell) maxDisk() int64 {
	if c.isSelf() {
		return 1<<20 + int64(2*len(c.sidecar.Program(c.t, self0)))
	}
	return 1 << 20
}

// filesOutside are all files that lie elsewhere than the sidecar may write.
func (c *cell) filesOutside() (files []string) {
	c.t.Helper()
	err := filepath.WalkDir(c.l.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case path == c.l.Path("var"), path == c.l.Path("notes"), path == c.l.Path("ctl"):
			return filepath.SkipDir
		case path == c.l.Path("output"): // what the program prints
			return nil
		case filepath.Dir(filepath.Dir(path)) == c.l.Path("disk") && slices.Contains([]string{c.agent(), "bystander"}, d.Name()):
			return filepath.SkipDir
		case filepath.Dir(path) == c.l.Path("disk"): // a work directory that is wanted is made
			return nil
		}
		files = append(files, path)
		return nil
	})
	must(c.t, err)
	return files
}

// judgeFiles: I4, I5.
func (c *cell) judgeFiles() {
	c.t.Helper()
	if now := c.filesOutside(); !slices.Equal(now, c.outside) {
		c.t.Errorf("I4: outside lies %q; before it was %q", now, c.outside)
	}
	left := func() (rubbish []string) {
		for _, dir := range c.agentDirs() {
			entries, err := os.ReadDir(dir)
			must(c.t, err)
			versions := 0
			for _, d := range entries {
				name := d.Name()
				if meta.ValidName(name) && d.IsDir() {
					versions++
				}
				if strings.HasPrefix(name, ".part") || strings.HasPrefix(name, ".staging") || strings.HasPrefix(name, ".trash") || strings.Contains(name, ".tmp-") {
					rubbish = append(rubbish, filepath.Join(dir, name))
				}
			}
			if versions > 2 {
				rubbish = append(rubbish, strconv.Itoa(versions)+" versions in "+dir)
			}
		}
		tmp, _ := filepath.Glob(c.l.Path("var/journal/.*.tmp-*"))
		own, _ := filepath.Glob(c.l.Path("var/.*.tmp-*"))
		return append(append(rubbish, tmp...), own...)
	}
	if !c.l.AwaitFor(10*time.Second, func() bool { return len(left()) == 0 }) {
		c.t.Errorf("I5: left behind: %q", left())
	}
	if used := c.l.Disk.Used(); used > c.maxDisk() {
		c.t.Errorf("I5: %d bytes of the disk are used", used)
	}
}

// judgeBystander: I6, another agent is not disturbed.
func (c *cell) judgeBystander() {
	c.t.Helper()
	var ups, downs int
	c.l.AwaitFor(looksAgain, func() bool {
		ups, downs = 0, 0
		for _, e := range c.l.Events("bystander") {
			switch e.What {
			case "up":
				ups++
			case "down":
				downs++
			}
		}
		return ups > c.l.Boots() // a reboot ended it
	})
	if ups != 1+c.l.Boots() || downs > 0 {
		c.t.Errorf("I6: the bystander was disturbed: %+v", c.l.Events("bystander"))
	}
	if !c.l.AwaitFor(5*time.Second, func() bool { return len(c.l.Instances("bystander")) == 1 }) {
		c.t.Errorf("I6: of the bystander run %+v", c.l.Instances("bystander"))
	}
}

// judgeTold: I7, what failed has a code, and is in the log and in a heartbeat.
func (c *cell) judgeTold() {
	c.t.Helper()
	said := map[string]bool{}
	for _, a := range c.l.Server.Past(c.agent()) {
		failed := a.Phase == meta.PhaseFailed || a.Phase == meta.PhaseRolledBack || a.Phase == meta.PhaseRollingBack
		if failed && a.Reason == "" && !said[a.Error] {
			said[a.Error] = true
			c.t.Errorf("I7: a failure without a code: %+v", a)
		}
	}
	log, err := os.ReadFile(c.l.Path("var/app.log"))
	must(c.t, err)
	var wrong []string
	for line := range strings.Lines(string(log)) {
		var said struct{ Level, Agent, Message, Error string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Level == "error" && said.Agent == c.agent() {
			wrong = append(wrong, said.Message+": "+said.Error)
		}
	}
	coded := func() bool {
		return slices.ContainsFunc(c.l.Server.Past(c.agent()), func(a meta.RealAgent) bool { return a.Reason != "" })
	}
	if len(wrong) > 0 && !c.l.AwaitFor(looksAgain, coded) {
		c.t.Errorf("I7: the log has %q, and no heartbeat had a code", wrong)
	}
}
