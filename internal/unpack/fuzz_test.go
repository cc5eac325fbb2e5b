package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

// FuzzStream throws anything at the tar layer: whatever is handed out obeys
// the rules, and whatever is refused is refused with a reason. The input is
// compressed here so that mutations reach the tar headers.
func FuzzStream(f *testing.F) {
	f.Add(rawTar(f, control(), file("lib/a", "x"), symlink("l", "lib/a"), hardlink("h", "lib/a")))
	f.Add(rawTar(f, control(), file(strings.Repeat("n", 150)+"/x", "long name")))
	f.Add(rawTar(f, symlink("l", "../x")))
	f.Add([]byte("no tar at all"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var total int64
		sum, err := unpack.Stream(context.Background(), bytes.NewReader(zip(t, raw)), small(), func(e unpack.Entry) error {
			mustBeSafe(t, e)
			if e.Body == nil {
				return nil
			}
			n, err := io.Copy(io.Discard, e.Body)
			total += n
			return err
		})
		var refused *unpack.Error
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("an error without a reason: %v", err)
		}
		if err == nil && sum.Bytes != total {
			t.Fatalf("summary says %d bytes, %d were read", sum.Bytes, total)
		}
		if total > small().MaxBytes || sum.Files+sum.Dirs+sum.Links > small().MaxFiles {
			t.Fatalf("limits are passed: %d bytes, %+v", total, sum)
		}
	})
}

// FuzzGzip throws anything at the compressed layer.
func FuzzGzip(f *testing.F) {
	f.Add(tarball(f, control()))
	f.Add([]byte{0x1f, 0x8b, 8, 0xff})
	f.Fuzz(func(t *testing.T, archive []byte) {
		_, err := unpack.Stream(context.Background(), bytes.NewReader(archive), small(), func(e unpack.Entry) error {
			mustBeSafe(t, e)
			return nil
		})
		var refused *unpack.Error
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("an error without a reason: %v", err)
		}
	})
}

func mustBeSafe(t *testing.T, e unpack.Entry) {
	if e.Path != path.Clean(e.Path) || path.IsAbs(e.Path) || e.Path == ".." || strings.HasPrefix(e.Path, "../") || strings.ContainsRune(e.Path, 0) {
		t.Fatalf("unsafe path %q", e.Path)
	}
	if e.Mode&^0o777 != 0 || e.Size < 0 {
		t.Fatalf("unsafe entry %+v", e)
	}
	if e.Kind == unpack.Symlink && path.IsAbs(e.Target) {
		t.Fatalf("absolute link %+v", e)
	}
}
