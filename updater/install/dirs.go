package install

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sync/atomic"
)

// dirsOpen is how many directories of the tree are kept open.
const dirsOpen = 64

// dirHandle is an open directory, so that files in it are made by one system
// call on a plain name, however deep it lies. It is closed when nobody uses it.
type dirHandle struct {
	root *os.Root
	uses atomic.Int32
}

func (h *dirHandle) release() {
	if h.uses.Add(-1) == 0 {
		_ = h.root.Close()
	}
}

// dirCache makes directories and keeps some of them open. It is used by one
// goroutine; only the handles it gives out may be released by others.
type dirCache struct {
	root  *os.Root
	known map[string]bool       // directories that exist
	open  map[string]*dirHandle // each holds one use
}

func newDirCache(root *os.Root) *dirCache {
	return &dirCache{root: root, known: map[string]bool{".": true}, open: map[string]*dirHandle{}}
}

// makeDir makes a directory that the archive names, with its mode.
func (c *dirCache) makeDir(dir string, mode fs.FileMode) error {
	if c.known[dir] { // it was only implied so far
		return c.root.Chmod(dir, mode)
	}
	if err := c.makeParents(dir); err != nil {
		return err
	}
	return c.mkdirOnce(dir, mode)
}

// makeParents makes what lies above p and does not exist.
func (c *dirCache) makeParents(p string) error {
	dir := path.Dir(p)
	if c.known[dir] {
		return nil
	}
	if err := c.makeParents(dir); err != nil {
		return err
	}
	return c.mkdirOnce(dir, impliedDir)
}

func (c *dirCache) mkdirOnce(dir string, mode fs.FileMode) error {
	h, base, err := c.openParent(dir)
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.root.Mkdir(base, mode); err != nil {
		return err
	}
	c.known[dir] = true
	return nil
}

// openParent gives the open directory of p, made when missing, and p's name in it.
// The handle must be released.
func (c *dirCache) openParent(p string) (*dirHandle, string, error) {
	if err := c.makeParents(p); err != nil {
		return nil, "", err
	}
	dir, base := path.Split(p)
	h, err := c.openHandle(path.Clean(dir))
	return h, base, err
}

func (c *dirCache) openHandle(dir string) (*dirHandle, error) {
	h, ok := c.open[dir]
	if !ok {
		root, err := c.openDir(dir)
		if err != nil {
			return nil, err
		}
		if len(c.open) >= dirsOpen {
			c.close()
		}
		h = &dirHandle{root: root}
		h.uses.Add(1)
		c.open[dir] = h
	}
	h.uses.Add(1)
	return h, nil
}

// openDir goes through the parent's handle when that is open.
func (c *dirCache) openDir(dir string) (*os.Root, error) {
	if h, ok := c.open[path.Dir(dir)]; ok && dir != "." {
		return h.root.OpenRoot(path.Base(dir))
	}
	return c.root.OpenRoot(dir)
}

// close gives up all handles; it can be used again afterwards.
func (c *dirCache) close() {
	for _, h := range c.open {
		h.release()
	}
	clear(c.open)
}

// syncDir makes renames in a directory durable.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
