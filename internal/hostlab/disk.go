package hostlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What a small filesystem has.
const (
	smallDisk  = 8 << 20 // bytes
	diskInodes = 400
)

// Disk is a small filesystem of its own that can be full, without inodes, or
// read-only.
type Disk struct {
	t      testing.TB
	Path   string
	filled []string
	layers int // mounts at Path
}

func newDisk(t testing.TB, path string, bytes int64) *Disk {
	t.Helper()
	must(t, os.MkdirAll(path, 0o755))
	d := &Disk{t: t, Path: path}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,nr_inodes=%d,mode=755", bytes, diskInodes)); err != nil {
		lack(t, fmt.Sprintf("a small filesystem cannot be mounted: %v", err))
	}
	d.layers = 1
	return d
}

// Fill leaves no byte free.
func (d *Disk) Fill() {
	d.t.Helper()
	path := filepath.Join(d.Path, ".fill")
	d.filled = append(d.filled, path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	_ = f.Close()
}

// UseInodes leaves no inode free.
func (d *Disk) UseInodes() {
	d.t.Helper()
	for i := range diskInodes + 1 {
		path := filepath.Join(d.Path, fmt.Sprintf(".inode-%d", i))
		err := os.WriteFile(path, nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		must(d.t, err)
		d.filled = append(d.filled, path)
	}
	d.t.Fatal("inodes are not counted on this filesystem")
}

// MakeReadOnly remounts the filesystem. While somebody has a file open for writing the
// kernel refuses that; then a read-only mount is put over it: what is opened from then on
// cannot be written.
func (d *Disk) MakeReadOnly() {
	d.t.Helper()
	if untilIdle(func() error { return d.remount(syscall.MS_RDONLY) }) == nil {
		return
	}
	must(d.t, syscall.Mount(d.Path, d.Path, "", syscall.MS_BIND, ""))
	d.layers++
	must(d.t, untilIdle(func() error {
		return syscall.Mount("", d.Path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}))
}

// untilIdle tries again what the kernel refuses while a file is open for writing.
func untilIdle(try func() error) (err error) {
	for range 20 {
		if err = try(); !errors.Is(err, syscall.EBUSY) {
			return err
		}
		pause(10 * time.Millisecond)
	}
	return err
}

func (d *Disk) remount(flags uintptr) error {
	return syscall.Mount("tmpfs", d.Path, "tmpfs", syscall.MS_REMOUNT|flags, "")
}

// Mend undoes what was done to the filesystem.
func (d *Disk) Mend() {
	d.t.Helper()
	for ; d.layers > 1; d.layers-- {
		must(d.t, syscall.Unmount(d.Path, syscall.MNT_DETACH))
	}
	must(d.t, d.remount(0))
	for _, path := range d.filled {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			d.t.Fatal(err)
		}
	}
	d.filled = nil
}

func (d *Disk) unmount() {
	for ; d.layers > 0; d.layers-- {
		_ = syscall.Unmount(d.Path, syscall.MNT_DETACH)
	}
}

// Used is how many bytes are used.
func (d *Disk) Used() int64 {
	var st syscall.Statfs_t
	must(d.t, syscall.Statfs(d.Path, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}
