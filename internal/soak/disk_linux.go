package soak

import (
	"fmt"
	"syscall"
)

// mountSmall puts a small filesystem on dir.
func mountSmall(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,nr_inodes=4096", diskSize)); err != nil {
		return fmt.Errorf("cannot mount a small filesystem: %w", err)
	}
	return nil
}

func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
