package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

const deletedSuffix = " (deleted)" // which the kernel adds

// findDisplaced finds this agent's processes whose files are no longer to be found
// by name: lost are those on a filesystem that was unmounted, or that another
// is mounted over; deleted are those whose version directory was removed.
// versions are the ones that are known to have been here. A process on a
// terminal is a person who looks around.
//
// A version that was unmounted is told from another installation's by the owner
// that is noted beside it.
func (r Runner) findDisplaced() (lost, deleted []process.Process) {
	d, versions := r.Dir, r.Known
	ours, _ := os.Readlink("/proc/self/ns/mnt")
	for _, pid := range process.All() {
		for _, link := range []string{"cwd", "exe"} {
			path, err := os.Readlink(process.File(pid, link))
			path, gone := strings.CutSuffix(path, deletedSuffix)
			if err != nil || !d.mayHaveBeen(path, versions) {
				continue
			}
			if space, _ := os.Readlink(process.File(pid, "ns/mnt")); space != ours || isSame(process.File(pid, link), path) || process.OnTerminal(pid) {
				continue
			}
			p, alive := process.Look(pid)
			switch {
			case !alive || pid == os.Getpid() || os.Geteuid() != 0 && p.UID != os.Geteuid():
			case gone:
				deleted = append(deleted, p)
			case link == "exe" || r.isOwn(pid, path):
				lost = append(lost, p)
			}
			break
		}
	}
	return lost, deleted
}

// isOwn: nothing beside the version in which the process works, at path, says
// that another installation looks after it.
func (r Runner) isOwn(pid int, path string) bool {
	for depth := 1; depth <= strings.Count(path, "/"); depth++ {
		// Not to be cleaned: it leads up from where the link leads.
		there, err := readOwner(process.File(pid, "cwd") + strings.Repeat("/..", depth) + "/" + ownerFile)
		if err == nil && r.Owner != nil {
			return there.Same(*r.Owner)
		}
	}
	return true
}

// mayHaveBeen: path names a version of the agent. Of a filesystem that was
// unmounted the kernel shows only what comes after the mount point.
func (d Dir) mayHaveBeen(path string, versions []string) bool {
	dirs := []string{d.Path}
	if real, err := filepath.EvalSymlinks(d.Path); err == nil && real != d.Path {
		dirs = append(dirs, real)
	}
	return slices.ContainsFunc(dirs, func(dir string) bool {
		for rest := dir; ; {
			// A version that is removed is renamed first.
			if slices.ContainsFunc(versions, func(v string) bool {
				return process.Within(path, rest+"/"+v) || process.Within(path, rest+"/"+trashPrefix+v)
			}) {
				return true
			}
			i := strings.IndexByte(strings.TrimPrefix(rest, "/"), '/')
			if rest == "" {
				return false
			}
			if rest = rest[1+max(i, 0):]; i < 0 {
				rest = ""
			}
		}
	})
}

func isSame(process, path string) bool {
	var there, here syscall.Stat_t
	if syscall.Stat(process, &there) != nil {
		return true // it has ended, or may not be seen
	}
	return syscall.Stat(path, &here) == nil && there.Dev == here.Dev && there.Ino == here.Ino
}
