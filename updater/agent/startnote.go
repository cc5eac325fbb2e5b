package agent

import (
	"encoding/json"
	"io"
	"os"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// maxStartNote is far more than a note may have.
const maxStartNote = 4 << 10

// readStartNote is empty when there is none that can be read.
func (d Dir) readStartNote() (n process.StartNote) {
	f, err := os.OpenFile(d.file(startFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return process.StartNote{}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxStartNote))
	if err != nil || json.Unmarshal(data, &n) != nil {
		return process.StartNote{}
	}
	return n
}

// writeStartNote does its best: on a full disk the agent must still be started.
func (d Dir) writeStartNote(n process.StartNote) {
	data, err := json.Marshal(n)
	if err == nil {
		_ = atomicfile.Write(d.file(startFile), append(data, '\n'), 0o644)
	}
}

// noteBeginning is written before control start runs.
func (d Dir) noteBeginning(version string) {
	prior := d.readStartNote()
	if prior.Pid == 0 && prior.Prior != nil {
		prior = *prior.Prior
	}
	n := process.StartNote{Version: version, Boot: process.Boot(), Began: process.TickNow()}
	if prior.Pid != 0 {
		prior.Prior = nil
		n.Prior = &prior
	}
	d.writeStartNote(n)
}

// noteStarted completes the note with the process that control pid names, where that is
// the agent's, and keeps it true: a script that becomes its program after a while is known
// by what it became.
func (d Dir) noteStarted(version string, pid int) {
	if pid == 0 {
		return
	}
	w := d.witness(version)
	if w.Note.Boot != w.Boot {
		return
	}
	p, alive := w.Look(pid)
	if k, _ := w.Judge(p); !alive || k != process.Related || p.ThreadOf != 0 {
		return
	}
	n := w.CompleteNote(p)
	if w.Note.Pid == n.Pid && w.Note.Program == n.Program && w.Note.Arguments == n.Arguments && w.Note.Directory == n.Directory {
		return
	}
	d.writeStartNote(n)
}
