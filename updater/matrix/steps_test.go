package matrix

import (
	"strings"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/meta"
)

// step is something that the sidecar does to an agent.
type step struct {
	name   string
	agent  string        // that it is done to; falcon unless said
	disk   int64         // bytes that agents need; 0: a few
	fails  bool          // it is undone, and nobody has it tried again
	base   func(*cell)   // what is wanted before; nil: nothing
	change func(*cell)   // what is wanted then, said while the sidecar is down
	order  func(c *cell) // what a person says once it is up again; nil: nothing
	phases []string      // where it can be struck: points of the program
	end    func(c *cell) end
}

// end is where a host comes to rest.
type end struct {
	version string
	place   string // work directory below the lab
	user    string
	stopped bool
	phases  []meta.Phase
	gone    []string // versions that are no longer there
}

const bad = "echo 'queue full'; exit 1"

// The users of the agents in a change of user.
const (
	before = "nobody"
	after  = "daemon"
)

func (c *cell) falcon(version string, h hostlab.Habits) meta.DesiredAgent {
	return c.l.Publish("falcon", version, h)
}

func (c *cell) want(a meta.DesiredAgent) {
	c.wanted = a
	c.l.Server.Want(a, c.bystander)
}

func at(version string, phases ...meta.Phase) func(*cell) end {
	if len(phases) == 0 {
		phases = []meta.Phase{meta.PhaseIdle}
	}
	return func(*cell) end { return end{version: version, place: "disk/work", phases: phases} }
}

func base(version string) func(*cell) {
	return func(c *cell) { c.want(c.falcon(version, hostlab.Habits{})) }
}

var steps = []step{
	{
		name:   "install",
		change: base("1.0.0"),
		phases: []string{
			"sidecar.downloading", "child.install.before", "install.downloaded", "install.staged", "install.synced", "child.install.after",
			"activate.write", "activate.done", "control.start", "sidecar.started", "sidecar.probation", "sidecar.ended",
		},
		end: at("1.0.0"),
	},
	{
		name:   "upgrade",
		base:   base("1.0.0"),
		change: base("1.0.1"),
		phases: []string{
			"sidecar.downloading", "child.install.before", "install.downloaded", "install.staged", "install.synced", "child.ready.before",
			"sidecar.stopping", "child.stop.before", "control.stop", "child.stop.after", "sidecar.starting", "child.activate.before", "activate.write",
			"activate.done", "child.start.before", "control.start", "child.start.after", "sidecar.probation", "child.probe.before", "sidecar.proved", "sidecar.ended",
		},
		end: at("1.0.1"),
	},
	{
		name:   "rollback",
		fails:  true,
		base:   base("1.0.0"),
		change: func(c *cell) { c.want(c.falcon("1.0.1", hostlab.Habits{Health: bad})) },
		phases: []string{"sidecar.rollingBack", "sidecar.flippedBack", "sidecar.restarted", "sidecar.ended"},
		end:    at("1.0.0", meta.PhaseRolledBack, meta.PhaseFailed),
	},
	{
		name: "operators-rollback",
		base: func(c *cell) {
			base("1.0.0")(c)
			c.settle(at("1.0.0")(c))
			base("1.0.1")(c)
		},
		change: func(*cell) {},
		order: func(c *cell) {
			c.l.Await("the operator's rollback is taken", func() bool {
				out, err := c.l.Command("rollback", "falcon", "--reason", "slow queries")
				return err == nil || strings.Contains(out, "already")
			})
		},
		phases: []string{"sidecar.stopping", "control.stop", "sidecar.starting", "activate.write", "control.start", "sidecar.probation", "sidecar.ended"},
		end:    at("1.0.0", meta.PhaseHeld),
	},
	{
		name: "config",
		base: func(c *cell) {
			c.l.Server.Put("app.json", []byte(`{"rows": 1}`))
			a := c.falcon("1.0.0", hostlab.Habits{})
			a.ConfigFileName, a.ConfigRemoteURL = "app.json", c.l.Server.URL+"/app.json"
			c.want(a)
		},
		change: func(c *cell) { c.l.Server.Put("app.json", []byte(`{"rows": 2}`)) },
		phases: []string{"child.config.before", "child.config.after", "sidecar.stopping", "sidecar.starting", "control.start", "sidecar.probation", "sidecar.ended"},
		end:    at("1.0.0"),
	},
	{
		name: "move",
		base: base("1.0.0"),
		change: func(c *cell) {
			a := c.falcon("1.0.0", hostlab.Habits{})
			a.WorkDir = c.l.Path("disk/other")
			c.want(a)
		},
		phases: []string{
			"sidecar.downloading", "install.synced", "sidecar.stopping", "control.stop", "sidecar.starting", "activate.write", "activate.done",
			"control.start", "sidecar.probation", "sidecar.proved", "sidecar.ended",
		},
		end: func(*cell) end {
			return end{version: "1.0.0", place: "disk/other", phases: []meta.Phase{meta.PhaseIdle}}
		},
	},
	{
		name: "user",
		base: func(c *cell) {
			a := c.falcon("1.0.0", hostlab.Habits{})
			a.RunUser, a.WorkDir = before, c.l.Path("disk/"+before)
			c.want(a)
		},
		change: func(c *cell) {
			a := c.falcon("1.0.0", hostlab.Habits{})
			a.RunUser, a.WorkDir = after, c.l.Path("disk/"+after)
			c.want(a)
		},
		phases: []string{"sidecar.downloading", "install.synced", "sidecar.stopping", "control.stop", "sidecar.starting", "activate.write", "control.start", "sidecar.probation", "sidecar.ended"},
		end: func(*cell) end {
			return end{version: "1.0.0", place: "disk/" + after, user: after, phases: []meta.Phase{meta.PhaseIdle}}
		},
	},
	{
		name: "stop",
		base: base("1.0.0"),
		change: func(c *cell) {
			a := c.wanted
			a.Cmd = meta.CmdStop
			c.want(a)
		},
		phases: []string{"child.canStop.before", "child.stop.before", "control.stop", "child.stop.after"},
		end: func(*cell) end {
			return end{version: "1.0.0", place: "disk/work", stopped: true, phases: []meta.Phase{meta.PhaseIdle}}
		},
	},
	{
		name: "prune",
		base: func(c *cell) {
			base("1.0.0")(c)
			c.settle(at("1.0.0")(c))
			base("1.0.1")(c)
		},
		change: base("1.0.2"),
		phases: []string{"child.prune.before", "prune", "child.prune.after"},
		end: func(*cell) end {
			return end{version: "1.0.2", place: "disk/work", phases: []meta.Phase{meta.PhaseIdle}, gone: []string{"1.0.0"}}
		},
	},
	{
		name:  "self-update",
		agent: hostlab.SelfName,
		disk:  selfDisk,
		base:  func(c *cell) { c.wantSelf(self1, patient) },
		change: func(c *cell) {
			c.wantSelf(self2, patient)
		},
		phases: []string{
			"sidecar.downloading", "child.install.before", "install.staged", "install.synced", "sidecar.starting", "child.tryProgram.before",
			"takeover.checked", "takeover.prepared", "watcher.ready", "takeover.watched", "takeover.executing", "takeover.begun", "takeover.heard", "takeover.committed",
			"child.activate.before", "activate.write", "activate.done", "sidecar.proved", "sidecar.ended", "child.prune.before",
		},
		end: at(self2),
	},
	{
		name:  "self-rollback",
		agent: hostlab.SelfName,
		disk:  selfDisk,
		fails: true,
		base:  func(c *cell) { c.wantSelf(self0, hasty) },
		change: func(c *cell) {
			c.l.Server.Refuse(self1)
			c.wantSelf(self1, hasty)
		},
		phases: []string{"watcher.ending", "watcher.ended", "takeover.returning", "sidecar.rollingBack", "sidecar.ended", "takeover.judged"},
		end:    at(self0, meta.PhaseRolledBack, meta.PhaseFailed),
	},
}
