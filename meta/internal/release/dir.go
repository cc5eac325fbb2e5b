package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// Dir keeps blobs in a directory.
type Dir struct {
	root string
	mu   sync.Mutex // between Put finding content and Remove taking it away
}

// OpenDir makes root ready to keep blobs.
func OpenDir(root string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Join(root, "sha256"), 0o750); err != nil {
		return nil, fmt.Errorf("cannot open the artifact store: %w", err)
	}
	return &Dir{root: root}, nil
}

func (d *Dir) blobPath(sha256 string) string {
	return filepath.Join(d.root, "sha256", sha256[:2], sha256[2:])
}

// Put implements [Blobs]: f is moved into its place, so it must lie in the
// same filesystem.
func (d *Dir) Put(_ context.Context, sha256 string, f *os.File, size int64) error {
	if err := validDigest(sha256); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o440), f.Sync()); err != nil {
		return fmt.Errorf("cannot store artifact %s: %w", sha256, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	path := d.blobPath(sha256)
	if kept, err := os.Stat(path); err == nil && kept.Size() == size {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil {
			return fmt.Errorf("cannot store artifact %s again: %w", sha256, err)
		}
		return nil
	}
	if err := placeBlob(f.Name(), path); err != nil {
		return fmt.Errorf("cannot store artifact %s: %w", sha256, err)
	}
	return nil
}

// placeBlob renames from to path and makes path, and a directory made for it,
// durable.
func placeBlob(from, path string) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o750); err == nil {
		if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}

// Open implements [Blobs].
func (d *Dir) Open(_ context.Context, sha256 string) (*Content, error) {
	if err := validDigest(sha256); err != nil {
		return nil, err
	}
	f, err := plainfile.Open(d.blobPath(sha256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot open artifact %s: %w", sha256, ErrNoBlob)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open artifact: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot open artifact: %w", err)
	}
	return &Content{f, Blob{sha256, info.Size(), info.ModTime()}}, nil
}

// Redirect implements [Blobs]: a directory is served by ourselves.
func (d *Dir) Redirect(context.Context, string, string) (string, error) { return "", nil }

// List implements [Blobs].
func (d *Dir) List(ctx context.Context, fn func(Blob) error) error {
	top := filepath.Join(d.root, "sha256")
	return filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		digest := filepath.Base(filepath.Dir(path)) + e.Name()
		if validDigest(digest) != nil {
			return nil // not ours
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		return fn(Blob{digest, info.Size(), info.ModTime()})
	})
}

// Remove implements [Blobs].
func (d *Dir) Remove(_ context.Context, sha256 string, before time.Time) error {
	if err := validDigest(sha256); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	path := d.blobPath(sha256)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("cannot remove artifact %s: %w", sha256, err)
	}
	return nil
}
