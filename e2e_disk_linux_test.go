package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

// A sidecar that is started while its disk is full or read-only reports all the
// same, and can be found by its commands once the disk is well.
func TestI2ASidecarStartsOnADiskThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts sidecars")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	fill := func(dir string) {
		for i := 0; ; i++ { // first the space, then the names
			if os.WriteFile(filepath.Join(dir, fmt.Sprintf("fill%d", i)), bytes.Repeat([]byte("x"), 4096), 0o600) != nil {
				break
			}
		}
		for i := 0; os.WriteFile(filepath.Join(dir, fmt.Sprintf("name%d", i)), nil, 0o600) == nil; i++ {
		}
	}
	empty := func(dir string) {
		files, _ := filepath.Glob(filepath.Join(dir, "[fn]*[0-9]"))
		for _, file := range files {
			_ = os.Remove(file)
		}
	}
	remount := func(flags uintptr) func(string) {
		return func(dir string) {
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
				t.Error(err)
			}
		}
	}
	for name, c := range map[string]struct{ breakIt, mend func(dir string) }{
		"full":      {fill, empty},
		"read-only": {remount(syscall.MS_RDONLY), remount(0)},
	} {
		t.Run(name, func(t *testing.T) {
			var beats atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				beats.Add(1)
				_, _ = io.WriteString(w, `{"errorMessage":"","desiredAgents":[],"interval":1}`)
			}))
			defer server.Close()
			dir, disk := t.TempDir(), t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m,nr_inodes=100"); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("NOT TESTED: a disk that cannot be written: %v", err)
				}
				t.Skipf("NOT TESTED: a disk that cannot be written: %v", err)
			}
			defer func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) }()
			config := filepath.Join(dir, "cfg.json")
			text := fmt.Sprintf(`{"server":%q,"interval":1,"hostname":"h","var_dir":%q,"work_dir":%q}`, server.URL, disk, filepath.Join(dir, "agents"))
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			started := func() *exec.Cmd {
				cmd := exec.Command(filepath.Join(bin, "ops-updater"), "-c", config)
				cmd.Stderr = os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				before := beats.Load()
				awaitTrue(t, "a heartbeat", func() bool { return beats.Load() > before })
				return cmd
			}
			found := func() bool {
				return exec.Command(filepath.Join(bin, "ops-updater"), "-c", config, "status").Run() == nil
			}
			stopProcess(started(), syscall.SIGTERM) // its files are there now
			c.breakIt(disk)
			cmd := started()
			defer stopProcess(cmd, syscall.SIGTERM)
			if _, err := os.Stat(filepath.Join(disk, "app.pid")); err == nil || found() {
				t.Error("the disk could be written; the test is about one that cannot be")
			}
			c.mend(disk)
			awaitTrue(t, "its commands find it", found)
			awaitTrue(t, "its pid file", func() bool {
				pid, err := os.ReadFile(filepath.Join(disk, "app.pid"))
				return err == nil && string(pid) == fmt.Sprintln(cmd.Process.Pid)
			})
		})
	}
}
