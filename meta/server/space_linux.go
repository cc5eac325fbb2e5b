package server

import (
	"syscall"

	"github.com/ops-updater/ops-updater/meta/api"
)

// checkSpace warns before a disk is full.
func checkSpace(dir string) api.Check {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return api.Checkf("disk", api.CheckWarning, "", "cannot ask for free space: %v", err)
	}
	free, total := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	if free < 1<<30 || free < total/50 {
		return api.Checkf("disk", api.CheckWarning, "make room, or remove what nothing uses: ops-meta releases prune --dry-run", "%d MiB free", free>>20)
	}
	return api.Checkf("disk", api.CheckOK, "", "%d GiB free", free>>30)
}

// freeSpace is how many bytes a directory has room for.
func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return st.Bavail * uint64(st.Bsize), err
}
