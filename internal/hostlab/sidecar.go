package hostlab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Sidecar is the real program with its fault points, built once. It can be made any
// version whose name is as long as the one it was built as: the linker put that into it,
// and another takes its place.
type Sidecar struct {
	Version string
	Path    string // of the program
	Control []byte // the control script of its releases

	program  []byte
	programs sync.Map // by version: making them takes longer than what is tested with them
	tarballs sync.Map // by program
}

// SelfName is the agent that is the sidecar itself.
const SelfName = "ops-updater"

// BuildSidecar builds the module in the directory root as version, into dir.
func BuildSidecar(root, dir, version string) (*Sidecar, error) {
	s := &Sidecar{Version: version, Path: filepath.Join(dir, SelfName)}
	const variable = "github.com/ops-updater/ops-updater/internal/buildinfo.version"
	cmd := exec.CommandContext(context.Background(), "go", "build", "-tags", "faultpoints", "-ldflags", "-s -w -X "+variable+"="+version, "-o", s.Path, "github.com/ops-updater/ops-updater")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var err, missing error
	s.program, err = os.ReadFile(s.Path)
	s.Control, missing = os.ReadFile(filepath.Join(root, "control"))
	return s, errors.Join(err, missing)
}

// Program is the program as that version.
func (s *Sidecar) Program(t testing.TB, version string) []byte {
	t.Helper()
	if len(version) != len(s.Version) || !bytes.Contains(s.program, []byte(s.Version)) {
		t.Fatalf("no program can be made %s", version)
	}
	return once(&s.programs, version, func() []byte {
		return bytes.ReplaceAll(s.program, []byte(s.Version), []byte(version))
	})
}

// Tarball is a release of the sidecar with that program.
func (s *Sidecar) Tarball(t testing.TB, program []byte) []byte {
	t.Helper()
	return once(&s.tarballs, &program[0], func() []byte {
		return Pack(t, map[string][]byte{"control": s.Control, SelfName: program})
	})
}

func once(made *sync.Map, key any, make func() []byte) []byte {
	f, _ := made.LoadOrStore(key, sync.OnceValue(make))
	return f.(func() []byte)()
}

// Pack makes a release of files that anybody may execute.
func Pack(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		must(t, tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg}))
		_, err := tw.Write(files[name])
		must(t, err)
	}
	must(t, errors.Join(tw.Close(), zw.Close()))
	return buf.Bytes()
}
