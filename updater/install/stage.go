package install

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

// Modes in a release: the owner can always read (and enter and write
// directories, so that a release can be removed), execute bits are kept, and
// nobody else may ever write. The process's umask narrows them further.
const (
	notForOthers  = 0o022
	ownerReads    = 0o400
	ownerHasDir   = 0o700
	impliedDir    = 0o755
	spaceInterval = 4 << 20 // bytes written between two looks at the free space
)

// staged is a tree that was unpacked completely.
type staged struct {
	files int
	bytes int64
}

// stage is the staging directory while it is filled.
type stage struct {
	parent  *os.Root
	name    string
	limits  unpack.Limits
	free    *guard
	written atomic.Int64 // bytes of content, for progress
}

func newStage(parent *os.Root, version string, limits unpack.Limits, free *guard) *stage {
	return &stage{parent: parent, name: stagingPrefix + version, limits: limits, free: free}
}

func (s *stage) removeTree() error { return s.parent.RemoveAll(s.name) }

// fillFrom unpacks r into a new staging directory.
func (s *stage) fillFrom(ctx context.Context, r io.Reader) (staged, error) {
	s.written.Store(0)
	if err := s.removeTree(); err != nil {
		return staged{}, err
	}
	if err := s.parent.Mkdir(s.name, impliedDir); err != nil {
		return staged{}, err
	}
	root, err := s.parent.OpenRoot(s.name)
	if err != nil {
		return staged{}, err
	}
	defer root.Close() //nolint:errcheck // nothing was written through it
	b := newBuilder(s, root)
	sum, err := unpack.Release(ctx, r, s.limits, b.addEntry)
	if werr := b.waitForWriters(); werr != nil {
		return staged{}, werr
	}
	if err == nil {
		err = b.finishEntries()
	}
	return staged{files: sum.Files + sum.Links, bytes: sum.Bytes}, err
}

// builder makes the tree: directories at once, files by workers, links and the
// directories' times at the end.
type builder struct {
	stage *stage
	root  *os.Root
	dirs  *dirCache
	files *writers
	times []unpack.Entry // directories
	links []unpack.Entry
}

func newBuilder(s *stage, root *os.Root) *builder {
	return &builder{stage: s, root: root, dirs: newDirCache(root), files: newWriters(s)}
}

func (b *builder) addEntry(e unpack.Entry) error {
	if err := b.files.whyFailed(); err != nil {
		return err
	}
	switch e.Kind {
	case unpack.Dir:
		b.times = append(b.times, e)
		return b.dirs.makeDir(e.Path, e.Mode&^notForOthers|ownerHasDir)
	case unpack.Symlink, unpack.Hardlink:
		b.links = append(b.links, e)
		return nil
	default:
		return b.addFile(e)
	}
}

func (b *builder) addFile(e unpack.Entry) error {
	dir, base, err := b.dirs.openParent(e.Path)
	if err != nil {
		return err
	}
	t := task{dir: dir, name: base, mode: e.Mode.Perm()&^notForOthers | ownerReads, modTime: e.ModTime}
	if e.Size > taskBuffer {
		defer dir.release()
		return b.stage.copyFile(t, e.Body)
	}
	t.content = b.files.takeBuffer()[:e.Size]
	if _, err := io.ReadFull(e.Body, t.content); err != nil {
		dir.release()
		return err
	}
	b.files.giveTask(t)
	return nil
}

// waitForWriters ends the workers; it must be called exactly once.
func (b *builder) waitForWriters() error {
	err := b.files.waitForAll()
	b.dirs.close()
	return err
}

// finishEntries does what has to come after all files.
func (b *builder) finishEntries() error {
	for _, e := range b.links {
		if err := b.addLink(e); err != nil {
			return err
		}
	}
	for _, e := range b.times {
		if err := b.root.Chtimes(e.Path, time.Time{}, e.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addLink(e unpack.Entry) error {
	if err := b.dirs.makeParents(e.Path); err != nil {
		return err
	}
	if e.Kind == unpack.Hardlink {
		return b.root.Link(e.Target, e.Path)
	}
	return b.root.Symlink(e.Target, e.Path)
}

// copyFile writes a large file as its content arrives.
func (s *stage) copyFile(t task, body io.Reader) error {
	f, err := t.createFile()
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(&counted{f: f, stage: s}, onlyReader{body}, make([]byte, chunkSize))
	return t.closeFile(f, err)
}

type onlyReader struct{ io.Reader }

// counted is a file whose bytes are counted and weighed against the free space.
type counted struct {
	f     *os.File
	stage *stage
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.f.Write(p)
	if err == nil {
		err = c.stage.noteWritten(n)
	}
	return n, err
}

func (s *stage) noteWritten(n int) error {
	s.written.Add(int64(n))
	return s.free.countWritten(int64(n))
}

// task is one file to write.
type task struct {
	dir     *dirHandle
	name    string
	mode    fs.FileMode
	modTime time.Time
	content []byte
}

func (t task) createFile() (*os.File, error) {
	return t.dir.root.OpenFile(t.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, t.mode)
}

// closeFile closes f, sets its time and passes err on.
func (t task) closeFile(f *os.File, err error) error {
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.dir.root.Chtimes(t.name, time.Time{}, t.modTime)
}
