package matrix

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// node is a file or a directory as programs see it, and what of it a power cut leaves.
type node struct {
	mode    fs.FileMode
	data    []byte
	entries map[string]*node // of a directory

	syncedData    []byte
	syncedEntries map[string]*node
}

func newNode(mode fs.FileMode) *node {
	n := &node{mode: mode}
	if mode.IsDir() {
		n.entries, n.syncedEntries = map[string]*node{}, map[string]*node{}
	}
	return n
}

// sync is what fsync does: a file's content, or a directory's names.
func (n *node) sync() {
	n.syncedData, n.syncedEntries = bytes.Clone(n.data), maps.Clone(n.entries)
}

func (n *node) syncAll() {
	n.sync()
	for _, e := range n.entries {
		e.syncAll()
	}
}

// readNode reads what is on a disk, all of it safe.
func readNode(path string) (*node, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	n := newNode(fi.Mode())
	if !fi.IsDir() {
		n.data, err = os.ReadFile(path)
		return n, err
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if !e.IsDir() && !e.Type().IsRegular() { // a socket, which a boot does not leave
			continue
		}
		below, err := readNode(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		n.entries[e.Name()] = below
	}
	n.syncAll()
	return n, err
}

// find returns the node of a path relative to n, or nil.
func (n *node) find(path string) *node {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if n = n.entries[name]; n == nil {
			return nil
		}
	}
	return n
}

// loss is what a power cut takes.
type loss string

const (
	dropped loss = "dropped" // whatever was not synced: contents and names
	emptied loss = "emptied" // contents that were not synced; names are all kept, as by filesystems that write their journal in time
)

// after is what a power cut leaves of n.
func (n *node) after(l loss) *node {
	left := newNode(n.mode)
	left.data = n.syncedData
	entries := n.entries
	if l == dropped {
		entries = n.syncedEntries
	}
	for name, e := range entries {
		left.entries[name] = e.after(l)
	}
	return left
}

// digest tells two trees apart.
func (n *node) digest() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%v %q\n", n.mode, n.data)
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		fmt.Fprintf(h, "%q %x\n", name, n.entries[name].digest())
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// write puts n at path; say changes contents on the way.
func (n *node) write(path string, say *strings.Replacer) error {
	if !n.mode.IsDir() {
		if err := os.WriteFile(path, []byte(say.Replace(string(n.data))), 0o600); err != nil {
			return err
		}
		return os.Chmod(path, n.mode.Perm())
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for name, e := range n.entries {
		if err := e.write(filepath.Join(path, name), say); err != nil {
			return err
		}
	}
	return os.Chmod(path, n.mode.Perm())
}
