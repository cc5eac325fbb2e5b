package agent

import (
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/updater/job"
)

// RunFile, OwnerFile and StartFile are the notes in an agent's directory, which its
// user can write.
const (
	RunFile   = runFile
	OwnerFile = ownerFile
	StartFile = startFile
)

// RunIn, OwnerIn and StartIn read them.
func RunIn(d Dir) (note string, pid int, running bool) {
	run, running := d.scriptAtWork()
	if run == nil {
		return "", 0, running
	}
	return run.String(), run.Script.Pid, running
}

func OwnerIn(d Dir) (job.Owner, error)        { return d.readOwner() }
func StartIn(d Dir) (n process.StartNote)     { return d.readStartNote() }
func ForeignIn(d Dir, o job.Owner) *job.Owner { return d.foreignOwner(o) }
