package release_test

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

var declared = release.Declared{Agent: "falcon-agent", Version: "5.1.3", Arch: "linux_amd64"}

func TestReceiveDescribesAndKeepsTheContent(t *testing.T) {
	s := openStore(t, t.TempDir())
	content := tarball(t, member{name: "./", mode: 0o755, kind: tar.TypeDir}, control, member{name: "./cfg.json", mode: 0o644, body: "{}"})
	a := receive(t, s, declared, content)
	md, sha := md5.Sum(content), sha256.Sum256(content)
	want := api.Artifact{
		Agent: "falcon-agent", Version: "5.1.3", Arch: "linux_amd64", Size: int64(len(content)),
		MD5: hex.EncodeToString(md[:]), SHA256: hex.EncodeToString(sha[:]),
	}
	if a.Agent != want.Agent || a.Version != want.Version || a.Arch != want.Arch || a.Size != want.Size || a.MD5 != want.MD5 || a.SHA256 != want.SHA256 || len(a.Warnings) > 0 {
		t.Fatalf("got %+v; want %+v", a, want)
	}
	c, err := s.Open(t.Context(), a.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content) || c.Size != a.Size {
		t.Fatalf("kept %d bytes, %v; want %d", len(got), err, len(content))
	}
	mustBeWhole(t, s, a.SHA256)
}

func TestReceiveRefuses(t *testing.T) {
	good := tarball(t, control)
	noise := make([]byte, 5<<20)
	_, _ = rand.Read(noise)
	many := []member{control}
	for i := range 60 {
		many = append(many, member{name: "f" + strconv.Itoa(i), mode: 0o644})
	}
	other := declared
	other.SHA256 = strings.Repeat("0", 64)
	longer := declared
	longer.Size = int64(len(good)) + 1
	huge := declared
	huge.Size = 1 << 40
	cases := []struct {
		name     string
		declared release.Declared
		content  []byte
		kind     api.ErrorKind
		field    string
		says     string
	}{
		{"no control", declared, tarball(t, member{name: "x", mode: 0o755, body: "x"}), api.KindInvalid, "tarball", "no-control"},
		{"the directory packed instead of its content", declared, tarball(t, member{name: "falcon-agent/control", mode: 0o755, body: "#!/bin/sh\n"}), api.KindInvalid, "tarball", "no-control"},
		{"control that cannot be executed", declared, tarball(t, member{name: "control", mode: 0o644, body: "#!/bin/sh\n"}), api.KindInvalid, "tarball", "bad-control"},
		{"path out of the tree", declared, tarball(t, control, member{name: "../../etc/cron.d/x", mode: 0o644}), api.KindInvalid, "tarball", "bad-path"},
		{"absolute path", declared, tarball(t, control, member{name: "/etc/passwd", mode: 0o644}), api.KindInvalid, "tarball", "bad-path"},
		{"link out of the tree", declared, tarball(t, control, member{name: "l", kind: tar.TypeSymlink, link: "../../etc"}), api.KindInvalid, "tarball", "link-escapes"},
		{"setuid", declared, tarball(t, control, member{name: "su", mode: 0o4755, body: "x"}), api.KindInvalid, "tarball", "special-bits"},
		{"device", declared, tarball(t, control, member{name: "null", kind: tar.TypeChar}), api.KindInvalid, "tarball", "special-file"},
		{"too many files", declared, tarball(t, many...), api.KindInvalid, "tarball", "too-many-files"},
		{"a bomb", declared, tarball(t, control, member{name: "zeros", mode: 0o644, body: strings.Repeat("\x00", 20<<20)}), api.KindInvalid, "tarball", "too-many-bytes"},
		{"larger than allowed", declared, tarball(t, control, member{name: "noise", mode: 0o644, body: string(noise)}), api.KindTooLarge, "", "4194304 bytes"},
		{"announced larger than allowed", huge, good, api.KindTooLarge, "", "4194304 bytes"},
		{"truncated", declared, good[:len(good)-10], api.KindInvalid, "tarball", "truncated"},
		{"something after its end", declared, append(slices.Clone(good), "more"...), api.KindInvalid, "tarball", "archive refused"},
		{"not gzip", declared, []byte("<html>404</html>"), api.KindInvalid, "tarball", "archive refused"},
		{"nothing", declared, nil, api.KindInvalid, "tarball", "archive refused"},
		{"other content than announced", other, good, api.KindInvalid, "sha256", "instead of the one announced"},
		{"another size than announced", longer, good, api.KindInvalid, "size", "announced"},
		{"a version like a path", release.Declared{Agent: "a", Version: "../1"}, good, api.KindInvalid, "version", "cannot be a version"},
		{"an arch like a path", release.Declared{Agent: "a", Version: "1", Arch: "../x"}, good, api.KindInvalid, "arch", "linux_amd64"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			s := openStore(t, root)
			_, err := s.Receive(t.Context(), c.declared, bytes.NewReader(c.content))
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Field != c.field || !strings.Contains(e.Message, c.says) {
				t.Fatalf("got %#v; want kind %s, field %q, message with %q", err, c.kind, c.field, c.says)
			}
			if left := kept(t, s); len(left) != 0 {
				t.Fatalf("kept %v of what was refused", left)
			}
			mustBeEmpty(t, filepath.Join(root, "incoming"))
		})
	}
}

func TestReceiveWhenTheSenderBreaksOff(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root)
	gone := errors.New("connection reset")
	content := tarball(t, control)
	_, err := s.Receive(t.Context(), declared, io.MultiReader(bytes.NewReader(content[:40]), failing{gone}))
	if !errors.Is(err, gone) || api.KindOf(err) != api.KindInternal {
		t.Fatalf("got %v; want the sender's error, which is nobody's fault here", err)
	}
	mustBeEmpty(t, filepath.Join(root, "incoming"))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// program is the beginning of an ELF file for a machine and a system.
func program(class, data, osabi byte, machine uint16) string {
	head := make([]byte, 64)
	copy(head, "\x7fELF")
	head[4], head[5], head[6], head[7] = class, data, 1, osabi
	if data == 2 {
		binary.BigEndian.PutUint16(head[18:], machine)
	} else {
		binary.LittleEndian.PutUint16(head[18:], machine)
	}
	return string(head)
}

// universal is the beginning of a Mach-O file for several machines.
func universal(cpus ...uint32) string {
	out := binary.BigEndian.AppendUint32(nil, 0xcafebabe)
	out = binary.BigEndian.AppendUint32(out, uint32(len(cpus)))
	for _, cpu := range cpus {
		out = binary.BigEndian.AppendUint32(out, cpu)
		out = append(out, make([]byte, 16)...)
	}
	return string(out)
}

func TestArchIsToldFromThePrograms(t *testing.T) {
	linuxAMD64 := program(2, 1, 0, 62)
	linuxARM64 := program(2, 1, 0, 183)
	macho := "\xcf\xfa\xed\xfe" + "\x0c\x00\x00\x01" + strings.Repeat("\x00", 30) // arm64
	javaClass := "\xca\xfe\xba\xbe\x00\x00\x00\x34" + strings.Repeat("x", 100)
	cases := []struct {
		name     string
		declared string
		files    []string
		arch     string // empty: refused
		warnings []string
	}{
		{"linux_amd64", "", []string{linuxAMD64}, "linux_amd64", nil},
		{"linux_386", "", []string{program(1, 1, 3, 3)}, "linux_386", nil},
		{"linux_arm64", "", []string{linuxARM64}, "linux_arm64", nil},
		{"linux_ppc64le", "", []string{program(2, 1, 0, 21)}, "linux_ppc64le", nil},
		{"linux_s390x", "", []string{program(2, 2, 0, 22)}, "linux_s390x", nil},
		{"freebsd_amd64", "", []string{program(2, 1, 9, 62)}, "freebsd_amd64", nil},
		{"darwin_arm64", "", []string{macho}, "darwin_arm64", nil},
		{"universal, with a program that decides", "", []string{universal(0x01000007, 0x0100000c), macho}, "darwin_arm64", nil},
		{"universal alone", "", []string{universal(0x01000007, 0x0100000c)}, "", nil},
		{"universal, declared", "darwin_amd64", []string{universal(0x01000007, 0x0100000c)}, "darwin_amd64", nil},
		{"universal of others", "linux_amd64", []string{universal(0x01000007, 0x0100000c)}, "linux_amd64", []string{"f0 is a program for darwin_amd64 and darwin_arm64, not for linux_amd64"}},
		{"two machines", "", []string{linuxAMD64, linuxARM64}, "", nil},
		{"another machine than declared", "linux_amd64", []string{linuxARM64}, "linux_amd64", []string{"f0 is a program for linux_arm64, not for linux_amd64"}},
		{"one of many is wrong", "linux_amd64", []string{linuxAMD64, linuxAMD64, linuxARM64, linuxARM64}, "linux_amd64", []string{"f2 is a program for linux_arm64, not for linux_amd64"}},
		{"no programs", "", []string{"text"}, "linux_amd64", nil},
		{"no programs, declared", "linux_amd64", []string{"text", javaClass, "\x7fELF"}, "linux_amd64", nil},
		{"a machine nobody knows", "linux_amd64", []string{program(2, 1, 0, 9999)}, "linux_amd64", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			members := []member{control}
			for i, f := range c.files {
				members = append(members, member{name: "f" + string(rune('0'+i)), mode: 0o755, body: f})
			}
			a, err := openStore(t, t.TempDir()).Receive(t.Context(), release.Declared{Agent: "a", Version: "1", Arch: c.declared}, bytes.NewReader(tarball(t, members...)))
			if c.arch == "" {
				if api.KindOf(err) != api.KindInvalid {
					t.Fatalf("got %v, %v; want a refusal", a.Arch, err)
				}
				return
			}
			if err != nil || a.Arch != c.arch || !slices.Equal(a.Warnings, c.warnings) {
				t.Fatalf("got %q, %q, %v; want %q, %q", a.Arch, a.Warnings, err, c.arch, c.warnings)
			}
		})
	}
}

// The real compiler decides what a header looks like.
func TestArchOfRealPrograms(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"linux_amd64", "linux_386", "darwin_arm64"} {
		goos, goarch, _ := strings.Cut(arch, "_")
		out := filepath.Join(dir, arch)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, src)
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cannot build for %s: %v\n%s", arch, err, msg)
		}
		body, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		content := tarball(t, control, member{name: "bin/agent", mode: 0o755, body: string(body)})
		a := receive(t, openStore(t, t.TempDir()), release.Declared{Agent: "a", Version: "1"}, content)
		if a.Arch != arch {
			t.Errorf("told %q from a program built for %s", a.Arch, arch)
		}
	}
}

func TestLeftoversOfACrashAreSweptAndUploadsInProgressAreNot(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root)
	incoming := filepath.Join(root, "incoming")
	if err := os.WriteFile(filepath.Join(incoming, "incoming-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(incoming, "README")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	content := tarball(t, control)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Receive(t.Context(), declared, r)
		done <- err
	}()
	if _, err := w.Write(content[:20]); err != nil { // the upload has begun
		t.Fatal(err)
	}
	again := openStore(t, root)
	names := map[string]bool{}
	entries, _ := os.ReadDir(incoming)
	for _, e := range entries {
		names[e.Name()] = true
	}
	if names["incoming-123"] || !names["README"] || len(names) != 2 {
		t.Fatalf("after the sweep: %v; want README and the upload in progress", slices.Collect(maps.Keys(names)))
	}
	if _, err := w.Write(content[20:]); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(kept(t, again)) != 1 {
		t.Fatal("the upload in progress was lost")
	}
}

func TestNobodyMayWriteIntoWhatIsKept(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root)
	a := receive(t, s, declared, tarball(t, control))
	path := filepath.Join(root, "blobs", "sha256", a.SHA256[:2], a.SHA256[2:])
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Fatalf("mode %v, %v; want a file nobody may write", info.Mode(), err)
	}
}

func TestUnusedSparesWhatIsUsedAndWhatIsNew(t *testing.T) {
	s := openStore(t, t.TempDir())
	used := receive(t, s, declared, tarball(t, control))
	idle := receive(t, s, declared, tarball(t, control, member{name: "x", mode: 0o644, body: "x"}))
	refs := map[string]bool{used.SHA256: true}
	if unused, err := s.Unused(t.Context(), refs, time.Hour); err != nil || len(unused) != 0 {
		t.Fatalf("within the grace: %v, %v", unused, err)
	}
	unused, err := s.Unused(t.Context(), refs, -time.Hour)
	if err != nil || len(unused) != 1 || unused[0].SHA256 != idle.SHA256 || unused[0].Size != idle.Size {
		t.Fatalf("got %v, %v; want only %s", unused, err, idle.SHA256)
	}
	if len(kept(t, s)) != 2 {
		t.Fatal("listing removed something")
	}
}

func TestDigestLineIsWhatTheToolsCheck(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "store"))
	content := tarball(t, control)
	a := receive(t, s, declared, content)
	for tool, digest := range map[string]string{"md5sum": a.MD5, "sha256sum": a.SHA256} {
		for name, data := range map[string][]byte{"a-1.tar.gz": content, "sums": []byte(release.DigestLine(digest, "a-1.tar.gz"))} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(tool, "-c", "sums")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tool, err, out)
		}
	}
}

// mustBeWhole reads content again and compares it with its digest.
func mustBeWhole(t *testing.T, s *release.Store, digest string) {
	t.Helper()
	c, err := s.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := sha256.New()
	if _, err := io.Copy(h, c); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		t.Fatalf("artifact %s is damaged: its content has the sha256 %s", digest, got)
	}
}
