package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// part is a member of a backup.
type part struct {
	tar.Header
	body []byte
}

// parts are the members of a backup of a server with one release.
func parts(t *testing.T) []part {
	t.Helper()
	r := start(t, newConfig(t))
	r.publish(t, "demo", "1.0")
	var archive bytes.Buffer
	if err := r.admin.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	var all []part
	for in := tar.NewReader(zip); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part{*head, body})
	}
}

// packed makes a backup of members, whatever their headers say.
func packed(t *testing.T, all ...part) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for _, p := range all {
		if err := out.WriteHeader(&p.Header); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Write(p.body)
	}
	_ = out.Close() // fails where a member is shorter than it says
	zip.Close()
	return b.Bytes()
}

// named is a member with a name.
func named(name string, body []byte) part {
	return part{tar.Header{Name: name, Mode: 0o600, Size: int64(len(body))}, body}
}

// tree lists what is in a directory.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
}

// A backup that is not whole restores nothing, and leaves nothing where it
// was to go; the whole one is restored there afterwards.
func TestARestoreIsAllOrNothing(t *testing.T) {
	whole := parts(t)
	if len(whole) != 2 || whole[1].Name != "database" {
		t.Fatalf("a backup has %d members", len(whole))
	}
	content, database := whole[0], whole[1]
	other := []byte("other")
	sum := sha256.Sum256(other)
	good := packed(t, content, database)
	badDump := named("database", database.body[:len(database.body)/2])
	huge := part{tar.Header{Name: "blobs/" + hex.EncodeToString(sum[:]), Mode: 0o600, Size: 1 << 60, Format: tar.FormatGNU}, other}
	wrongSum := slices.Clone(good)
	copy(wrongSum[len(wrongSum)-8:], []byte{0xff, 0xff, 0xff, 0xff})
	link := named("blobs/"+hex.EncodeToString(sum[:]), nil)
	link.Typeflag, link.Linkname = tar.TypeSymlink, "/etc/passwd"
	for name, bad := range map[string][]byte{
		"empty":                         {},
		"no archive":                    []byte("hello"),
		"cut off":                       good[:len(good)/2],
		"without its checksum":          good[:len(good)-8],
		"with a wrong checksum":         wrongSum,
		"without a database":            packed(t, content),
		"without a content":             packed(t, database),
		"with half a database":          packed(t, content, badDump),
		"with an empty database":        packed(t, content, named("database", nil)),
		"with a content twice":          packed(t, content, content, database),
		"with two databases":            packed(t, content, database, database),
		"with a content after it":       packed(t, database, content),
		"with another content":          packed(t, named(content.Name, other), database),
		"with a content above":          packed(t, named("blobs/../../../etc/x", other), content, database),
		"with a name above":             packed(t, named("../x", other), content, database),
		"with an absolute name":         packed(t, named("/tmp/x", other), content, database),
		"with a name too short":         packed(t, named("blobs/ab", other), content, database),
		"with a link":                   packed(t, link, content, database),
		"with more than the disk holds": packed(t, content, huge),
	} {
		t.Run(name, func(t *testing.T) {
			for target, dir := range map[string]string{"new": filepath.Join(t.TempDir(), "a", "b"), "empty": t.TempDir()} {
				conf := server.Config{Data: dir}
				if _, err := server.Restore(t.Context(), conf, bytes.NewReader(bad)); api.KindOf(err) != api.KindInvalid {
					t.Errorf("into a directory that is %s: %v, want it refused as invalid", target, err)
				}
				left := slices.DeleteFunc(tree(t, dir), func(path string) bool { return path == dir || filepath.Base(path) == "ops-meta.lock" })
				if len(left) > 0 {
					t.Errorf("into a directory that is %s: it left %v", target, left)
				}
				if done, err := server.Restore(t.Context(), conf, bytes.NewReader(good)); err != nil || done.Artifacts != 1 {
					t.Errorf("the whole backup into the same: %+v, %v", done, err)
				}
			}
		})
	}
}

// What a killed restore has left is no obstacle, and is removed.
func TestARestoreThatWasKilledIsDoneAgain(t *testing.T) {
	whole := packed(t, parts(t)...)
	conf := newConfig(t)
	stage := filepath.Join(conf.Data, ".restoring-1234")
	if err := os.MkdirAll(filepath.Join(stage, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stage, "ops-meta.db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Restore(t.Context(), conf, bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(conf.Data, ".restoring-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if _, err := server.Restore(t.Context(), conf, bytes.NewReader(whole)); api.KindOf(err) != api.KindExists {
		t.Errorf("over a database: %v", err)
	}
	start(t, conf)
}
