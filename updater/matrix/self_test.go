package matrix

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// The sidecar itself as the agent of a step. In place of an application that a control
// script starts, it is the program of the lab that has to be the wanted version.

// Versions of the sidecar; self0 is installed on every host.
const (
	self0 = "1.0.0-matrix.test"
	self1 = "1.0.1-matrix.test"
	self2 = "1.0.2-matrix.test"
)

// How long a version of the sidecar has for a heartbeat to be answered, in seconds:
// longer than any fault lasts, and so short that a cell can wait for its end.
const (
	patient = 20
	hasty   = 4
)

// selfDisk is enough for two versions of the sidecar, and for a third on its way.
const selfDisk = 96 << 20

func (c *cell) isSelf() bool { return c.agent() == hostlab.SelfName }

// wantSelf has the server want that version of the sidecar.
func (c *cell) wantSelf(version string, patience int) {
	c.t.Helper()
	a := c.l.PublishTarball(hostlab.SelfName, version, c.sidecar.Tarball(c.t, c.sidecar.Program(c.t, version)))
	a.Probation = patience
	c.want(a)
}

func corruptTakeover(c *cell) {
	c.l.Kill()
	path := c.l.Path("var/" + takeover.StateName)
	whole, err := os.ReadFile(path)
	must(c.t, err)
	must(c.t, os.WriteFile(path, c.garbage(whole), 0o600))
}

// sidecarProcesses are how many sidecars run on the host, and how many watchers.
func (c *cell) sidecarProcesses() (running, watching int) {
	for _, pid := range c.l.Processes() {
		args, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		switch {
		case strings.HasSuffix(string(args), "\x00-c\x00"+c.l.Path("cfg.json")+"\x00"):
			running++
		case strings.Contains(string(args), "\x00watch\x00"+c.l.Path("var")+"\x00"):
			watching++
		}
	}
	return running, watching
}

// judgeNamed: I1, I2. What .version says of the sidecar is for people: it may come later
// than a heartbeat. Nothing names what is installed.
func (c *cell) judgeNamed(e end) {
	c.t.Helper()
	var named []byte
	var err error
	if !c.l.AwaitFor(15*time.Second, func() bool {
		named, err = os.ReadFile(filepath.Join(c.l.Path(e.place), c.agent(), ".version"))
		return string(named) == e.version || os.IsNotExist(err) && e.version == self0
	}) {
		c.t.Errorf("I2: .version names %q; want %s: %v", named, e.version, err)
	}
}

// judgeSelf: I1, I2 and I4 where the sidecar itself is the agent. It has to be the wanted
// version after its next start too.
func (c *cell) judgeSelf(e end) {
	c.t.Helper()
	var running, watching int
	c.l.AwaitFor(10*time.Second, func() bool {
		running, watching = c.sidecarProcesses()
		return running == 1 && watching == 0
	})
	if running != 1 || watching != 0 {
		c.t.Errorf("I2: %d sidecars run and %d watchers; want one and none", running, watching)
	}
	var state takeover.State
	var err error
	if !c.l.AwaitFor(15*time.Second, func() bool {
		state, err = takeover.Load(c.l.Path("var"))
		return err == nil && state.Trial == nil
	}) {
		c.t.Errorf("I2: a trial is left, or it cannot be read: %+v, %v", state.Trial, err)
	}
	c.judgeNamed(e)
	installed, err := os.ReadFile(c.l.Path("program/" + hostlab.SelfName))
	if err != nil || !bytes.Equal(installed, c.sidecar.Program(c.t, self0)) {
		c.t.Errorf("I4: what is installed was touched: %v", err)
	}
	c.l.End()
	beats := c.l.Server.Beats()
	c.l.Start(nil)
	c.l.Await("a heartbeat after the next start", func() bool { return c.l.Server.Beats() > beats })
	if now := c.l.Server.Updater(); now != e.version {
		c.t.Errorf("I2: after its next start the sidecar is %s; want %s", now, e.version)
	}
}
