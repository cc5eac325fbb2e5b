package agent

import (
	"os"
	"path/filepath"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

func (d Dir) witness(version string) process.Witness {
	w := process.Witness{Dirs: []string{d.Path}, Note: d.readStartNote(), Boot: process.Boot(), UID: os.Geteuid(), Self: process.Lineage(), Look: process.Look}
	if real, err := filepath.EvalSymlinks(d.Path); err == nil && real != d.Path {
		w.Dirs = append(w.Dirs, real)
	}
	w.Beside = filepath.Dir(w.Dirs[len(w.Dirs)-1])
	w.Stale = func(p process.Process) string { return d.olderPidFile(version, p) }
	w.IsAgent = func(dir string) bool { _, err := os.Lstat(filepath.Join(dir, versionFile)); return err == nil }
	return w
}
