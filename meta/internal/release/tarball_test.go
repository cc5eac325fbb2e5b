package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// member is one entry of a tarball.
type member struct {
	name string
	mode int64
	body string
	kind byte
	link string
}

var control = member{name: "./control", mode: 0o755, body: "#!/bin/sh\necho started\n"}

// tarball packs members as tar and gzip do.
func tarball(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	w := tar.NewWriter(gz)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(m.body)), Typeflag: m.kind, Linkname: m.link}
		if m.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// openStore opens a store in a directory with small limits.
func openStore(t *testing.T, root string) *release.Store {
	t.Helper()
	blobs, err := release.OpenDir(filepath.Join(root, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := release.Open(release.Config{
		Blobs: blobs, Incoming: filepath.Join(root, "incoming"),
		MaxTarball: 4 << 20, MaxUnpacked: 16 << 20, MaxFiles: 50,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept lists what a store holds.
func kept(t *testing.T, s release.Blobs) map[string]release.Blob {
	t.Helper()
	out := map[string]release.Blob{}
	err := s.List(t.Context(), func(b release.Blob) error {
		out[b.SHA256] = b
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mustBeEmpty fails when a directory holds anything.
func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Fatalf("%s holds %v, %v; want nothing", filepath.Base(dir), entries, err)
	}
}

func receive(t *testing.T, s *release.Store, d release.Declared, content []byte) api.Artifact {
	t.Helper()
	a, err := s.Receive(t.Context(), d, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return a
}
