package install_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

// TestMain lets this test program be a child that installs: the job comes on
// its input, progress and outcome go to its output.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "child" {
		child()
		return
	}
	if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
		_ = os.Setenv("TMPDIR", "/dev/shm") // syncing a disk that others keep busy takes its time
	}
	m.Run()
}

type outcome struct {
	Progress job.Progress
	Done     bool
	Result   job.Installed
	Reason   string
	Message  string
}

func child() {
	var j job.Install
	out := json.NewEncoder(os.Stdout)
	err := json.NewDecoder(os.Stdin).Decode(&j)
	var res job.Installed
	if err == nil {
		res, err = install.Run(context.Background(), j, func(p job.Progress) { _ = out.Encode(outcome{Progress: p}) })
	}
	o := outcome{Done: true, Result: res}
	if e := (*install.Error)(nil); errors.As(err, &e) {
		o.Reason, o.Message = e.Code, e.Error()
	}
	_ = out.Encode(o)
}

// startChild starts a child process with j; each line it prints comes through
// the scanner.
func startChild(t testing.TB, j job.Install, attr *syscall.SysProcAttr) (*exec.Cmd, *json.Decoder) {
	t.Helper()
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "child")
	cmd.Stdin, cmd.Stderr, cmd.SysProcAttr = bytes.NewReader(b), os.Stderr, attr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, json.NewDecoder(bufio.NewReader(out))
}

// TestI2KilledChildIsMadeGoodByTheNext kills a real child with SIGKILL while
// the server holds it at a known point.
func TestI2KilledChildIsMadeGoodByTheNext(t *testing.T) {
	r := newRelease(t, 8<<20)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	holdAt := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(r.tarball)))
			_, _ = w.Write(r.tarball[:n])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-hold:
			case <-req.Context().Done():
			}
		}
	}
	for name, n := range map[string]int{"during the download": 1 << 20, "while staging, nearly at the end": len(r.tarball) - 10} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, inTurn(holdAt(n), content(r.tarball)))
			j := testJob(t, r, server.URL)
			cmd, out := startChild(t, j, nil)
			for o := (outcome{}); o.Progress.Done < int64(n); {
				if err := out.Decode(&o); err != nil || o.Done {
					t.Fatalf("the child ended: %+v %v", o, err)
				}
			}
			waitFor(t, filepath.Join(j.Dir, ".staging-1.0.0"))
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if _, err := os.Stat(filepath.Join(j.Dir, j.Version)); err == nil {
				t.Fatal("a version that is not complete has its name")
			}
			if _, err := install.Run(t.Context(), j, nil); err != nil {
				t.Fatal(err)
			}
			r.mustBe(t, j)
			if got := server.header("Range"); len(got) < 2 || got[1] == "" {
				t.Errorf("the download started afresh: %q", got)
			}
		})
	}
}

func waitFor(t testing.TB, path string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not appear", path)
		}
	}
}

// TestI4HostileTarballsLeaveNothing installs archives whose digest is right
// and whose content is not; the rules themselves are tested in package unpack.
func TestI4HostileTarballsLeaveNothing(t *testing.T) {
	ctl := tar.Header{Name: "control", Mode: 0o755}
	cases := map[string]struct {
		members []tar.Header
		reason  string
	}{
		"parent path":   {[]tar.Header{ctl, {Name: "../../outside", Mode: 0o644}}, install.CodeHostileArchive},
		"absolute path": {[]tar.Header{ctl, {Name: "/tmp/outside", Mode: 0o644}}, install.CodeHostileArchive},
		"link out":      {[]tar.Header{ctl, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}}, install.CodeHostileArchive},
		"through a link": {
			[]tar.Header{ctl, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/x", Mode: 0o644}},
			install.CodeHostileArchive,
		},
		"hard link":      {[]tar.Header{ctl, {Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}, install.CodeHostileArchive},
		"device":         {[]tar.Header{ctl, {Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, install.CodeHostileArchive},
		"FIFO":           {[]tar.Header{ctl, {Name: "p", Typeflag: tar.TypeFifo}}, install.CodeHostileArchive},
		"setuid":         {[]tar.Header{ctl, {Name: "s", Mode: 0o4755}}, install.CodeHostileArchive},
		"duplicate":      {[]tar.Header{ctl, ctl}, install.CodeHostileArchive},
		"case collision": {[]tar.Header{ctl, {Name: "a"}, {Name: "A"}}, install.CodeHostileArchive},
		"too many files": {slices.Concat([]tar.Header{ctl}, numbered(120)), install.CodeHostileArchive},
		"bomb":           {[]tar.Header{ctl, {Name: "bomb", Mode: 0o644}}, install.CodeHostileArchive},
		"no control":     {[]tar.Header{{Name: "agent/control", Mode: 0o755}}, install.CodeNoControl},
		"not executable": {[]tar.Header{{Name: "control", Mode: 0o644}}, install.CodeBadControl},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := release{tarball: pack(t, c.members, func(name string) string {
				if name == "bomb" {
					return strings.Repeat("\x00", 20<<20)
				}
				return script
			})}
			r.md5, r.sha256 = sums(r.tarball)
			mustRefuse(t, r, c.reason)
		})
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)-4] },
		"corrupt":   func(b []byte) []byte { return append(slices.Clone(b[:len(b)-8]), make([]byte, 8)...) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelease(t, 1000)
			r.tarball = spoil(r.tarball)
			r.md5, r.sha256 = sums(r.tarball)
			mustRefuse(t, r, install.CodeBadArchive)
		})
	}
}

func numbered(n int) (members []tar.Header) {
	for i := range n {
		members = append(members, tar.Header{Name: fmt.Sprintf("f%d", i), Mode: 0o644})
	}
	return members
}

func mustRefuse(t *testing.T, r release, reason string) {
	t.Helper()
	server := serve(t, content(r.tarball))
	j := testJob(t, r, server.URL)
	j.Limits.MaxFiles, j.Limits.MaxUnpacked = 100, 10<<20
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, reason, true)
	mustHold(t, j.Dir)
	mustHold(t, filepath.Dir(j.Dir), "agent")
	if got := len(server.header("Range")); got != 1 {
		t.Errorf("%d requests for what is refused for good", got)
	}
}

// needRoot skips loudly without root, and fails where it is promised.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("NOT TESTED: disks of our own; missing: root")
	}
	t.Skip("NOT TESTED: disks of our own; missing: root")
}

// mount makes a small filesystem of its own.
func mount(t *testing.T, options string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NOT TESTED: disks of our own: %v", err)
		}
		t.Skipf("NOT TESTED: disks of our own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestI5FullDiskIsLeftAsItWas fills a real filesystem in three ways.
func TestI5FullDiskIsLeftAsItWas(t *testing.T) {
	r := newRelease(t, 6<<20)
	unannounced := func(w http.ResponseWriter, req *http.Request) { // nothing to check beforehand
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(r.tarball)
	}
	cases := map[string]struct {
		options string
		handler http.HandlerFunc
		reserve int64
		told    string
	}{
		"known beforehand":        {"size=20m", content(r.tarball), 0, "are needed"},
		"download does not fit":   {"size=3m", unannounced, 0, "disk is full"},
		"tree does not fit":       {"size=8m", unannounced, 0, "disk is full"},
		"no inodes":               {"size=100m,nr_inodes=20", content(r.tarball), 0, "inodes"},
		"reserve would be used":   {"size=20m", unannounced, 15 << 20, "to be left"},
		"fits, with its estimate": {"size=60m", content(r.tarball), 1 << 20, "fine"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(mount(t, c.options), "agent")
			j := testJob(t, r, serve(t, c.handler).URL)
			j.Dir, j.Limits.Reserve = dir, c.reserve
			_, err := install.Run(t.Context(), j, nil)
			if c.told == "fine" {
				if err != nil {
					t.Fatal(err)
				}
				r.mustBe(t, j)
				return
			}
			mustFail(t, err, install.CodeNoSpace, false)
			if !strings.Contains(err.Error(), c.told) {
				t.Errorf("told %q, want %q", err, c.told)
			}
			mustHold(t, dir)
		})
	}
}

func TestReadOnlyDiskIsToldSo(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	j.Dir = filepath.Join(mount(t, "size=1m"), "agent")
	if err := os.Mkdir(j.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", filepath.Dir(j.Dir), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeReadOnly, false)
}

func TestForeignDirectoryIsToldSo(t *testing.T) {
	needRoot(t)
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	dir, err := os.MkdirTemp("", "install")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	j.Dir = filepath.Join(dir, "agent")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(j.Dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	_, out := startChild(t, j, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	var o outcome
	for !o.Done {
		if err := out.Decode(&o); err != nil {
			t.Fatal(err)
		}
	}
	if o.Reason != install.CodeNoPermission || !strings.Contains(o.Message, "chown") {
		t.Errorf("told %+v", o)
	}
}

func TestSomethingElseUnderTheVersionsName(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	if err := errors.Join(os.MkdirAll(j.Dir, 0o755), os.Symlink("/etc", filepath.Join(j.Dir, j.Version))); err != nil {
		t.Fatal(err)
	}
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeOccupied, false)
}

// TestI3TwoInstallsOfOneAgentTakeTurns runs the same job twice at once.
func TestI3TwoInstallsOfOneAgentTakeTurns(t *testing.T) {
	r := newRelease(t, 2<<20)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	results := make(chan job.Installed, 2)
	for range 2 {
		go func() {
			res, err := install.Run(context.Background(), j, nil)
			if err != nil {
				t.Error(err)
			}
			results <- res
		}()
	}
	if a, b := <-results, <-results; a.Present == b.Present {
		t.Errorf("both did the same: %+v, %+v", a, b)
	}
	r.mustBe(t, j)
}

func TestLongNamesFit(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	j.Agent, j.Version = strings.Repeat("a", 128), strings.Repeat("1", 128)
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	r.mustBe(t, j)
}

// TestSlowSyncfsFallsBackToEachFile gives syncfs no time at all.
func TestSlowSyncfsFallsBackToEachFile(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	j.Limits.SyncTimeout = 1
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	r.mustBe(t, j)
}
