// Package job is all that the resident process and its children say to each
// other: a [Job] in, any number of lines of [Progress] and one [Result] or
// [Error] out. It holds what is asked and answered, and does nothing.
package job

import (
	"time"

	"github.com/ops-updater/ops-updater/updater/plan"
)

// Op names what a child is asked to do.
type Op string

// The operations of a child. Each may be repeated after a child was killed in
// the middle of it.
const (
	OpObserve       Op = "inspect"       // what disk and control say
	OpDisown        Op = "disown"        // leave the agent to whoever else wants it
	OpDigest        Op = "digest"        // ask for the md5 of a release
	OpClaim         Op = "claim"         // check that the user may work in the directory as it is
	OpInstall       Op = "install"       // download, verify, unpack, place
	OpConfig        Op = "config"        // fetch the remote config, replace the file when it changed
	OpRestoreConfig Op = "restoreConfig" // bring back the file that OpConfig replaced
	OpStop          Op = "stop"          // until nothing of the agent runs
	OpStart         Op = "start"         // until status says started
	OpReady         Op = "ready"         // check that OpActivate will not fail, and that the control script can be run
	OpCanRun        Op = "canRun"        // check that the control script of a version can be run
	OpCanStop       Op = "canStop"       // the same of a version that may run
	OpCheck         Op = "check"         // the same of the version that .version names, without running it
	OpProbe         Op = "probe"         // status, pid and health of one version
	OpVersions      Op = "versions"      // what the disk says, without asking the control script
	OpTryProgram    Op = "tryProgram"    // run the check of another version of the sidecar
	OpActivate      Op = "activate"      // make .version name a version
	OpEvict         Op = "evict"         // end what runs in a directory that root gives up
	OpDeactivate    Op = "deactivate"    // remove .version
	OpPrune         Op = "prune"         // remove what is not kept
	OpOutput        Op = "output"        // the end of what the control script printed
	OpLimitOutput   Op = "limitOutput"   // cut what the agent wrote to it
)

// Dir is the directory of one agent, {workDir}/{name}. Only a child may look
// into it.
type Dir struct {
	Path string `json:"path"` // absolute
	Name string `json:"name"`
}

// Job is one request to a child: an operation on one agent's directory.
type Job struct {
	Op       Op            `json:"op"`
	Dir      Dir           `json:"dir"`
	Version  string        `json:"version,omitempty"`
	Timeouts Timeouts      `json:"timeouts"`
	Env      []string      `json:"env,omitempty"` // added to the environment of control scripts
	Install  *Install      `json:"install,omitempty"`
	Config   *RemoteConfig `json:"config,omitempty"`
	Limits   Limits        `json:"limits,omitzero"` // of OpConfig
	Prune    *Prune        `json:"prune,omitempty"`
	Owner    *Owner        `json:"owner,omitempty"` // the sidecar that asks for it
	Known    []string      `json:"known,omitempty"` // versions that ran there
	Guest    bool          `json:"guest,omitempty"` // it only asks, and does not look after the agent
	Pid      int           `json:"pid,omitempty"`   // of OpLimitOutput: a process of the agent, or 0
	Program  *Program      `json:"program,omitempty"`
}

// Program is a version of the sidecar, and the configuration that it has to do with.
type Program struct {
	Path    string        `json:"path"`
	Version string        `json:"version"` // that it has to say it is
	Config  string        `json:"config"`  // path of cfg.json
	Timeout time.Duration `json:"timeout"` // of its check
}

// Result is a child's answer to one [Job]; the field of its operation is set.
type Result struct {
	Seen    plan.Observation `json:"seen,omitzero"`
	Install Installed        `json:"install,omitzero"`
	Config  ConfigFetched    `json:"config,omitzero"`
	Stopped Stopped          `json:"stopped,omitzero"`
	Probe   plan.Probe       `json:"probe,omitzero"`
	Pruned  []string         `json:"pruned,omitempty"`
	Output  string           `json:"output,omitempty"`
	Freed   int64            `json:"freed,omitempty"` // bytes of output that were cut
}

// ConfigFetched says what [OpConfig] did.
type ConfigFetched struct {
	Changed bool   `json:"changed"`
	Digest  string `json:"digest"` // of the file as it is now
	Proof   Proof  `json:"proof,omitzero"`
}

// Error is why a child could not do a job.
type Error struct {
	Message   string `json:"message"`
	Code      string `json:"reason,omitempty"`    // machine-readable
	Permanent bool   `json:"permanent,omitempty"` // trying again will not help
	Host      bool   `json:"host,omitempty"`      // this host is at fault, no release is
}

func (e *Error) Error() string { return e.Message }

// Codes of an [Error] that are not an install's.
const (
	CodeIncomplete = "incomplete"  // the version to activate is not a complete one
	CodeBusy       = "busy"        // somebody else runs the control script, or changes the files
	CodeOwned      = "owned"       // another sidecar looks after the agent
	CodeCheck      = "check"       // the sidecar's new version fails its own check on this host
	CodeNotStopped = "not-stopped" // something of the agent runs on

	CodeUnsafePlace = "unsafe-place" // somebody else can change what would be run
)

// Patience is how long a child may be silent while it does the job.
func (j Job) Patience() time.Duration {
	const margin = 15 * time.Second
	t := j.Timeouts
	switch j.Op {
	case OpStop:
		return 3*t.Stop + 12*t.Status + margin // once more than it takes, for the queue
	case OpStart:
		return 2*t.Start + 4*t.Status + margin
	case OpEvict:
		return 2 * time.Minute
	case OpObserve, OpProbe, OpReady, OpCanRun, OpCanStop:
		return 4*t.Status + margin
	case OpInstall, OpPrune, OpConfig, OpDigest:
		return 10 * time.Minute // stalls are noticed by the child itself, long before
	case OpTryProgram:
		return 2*j.Program.Timeout + time.Minute // its own check, and ours where that fails
	case OpActivate, OpDeactivate, OpRestoreConfig:
		return t.Start + time.Minute
	case OpCheck, OpClaim, OpVersions, OpOutput, OpDisown, OpLimitOutput:
	}
	return time.Minute
}

// ReadsStrangers reports whether the job takes apart what came from elsewhere, and much of it;
// its child does nothing else afterwards.
func (j Job) ReadsStrangers() bool {
	return j.Op == OpInstall || j.Op == OpConfig || j.Op == OpDigest
}

// Line is one line that a child prints.
type Line struct {
	Progress *Progress `json:"progress,omitempty"`
	Result   *Result   `json:"result,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}
