package unpack

import (
	"archive/tar"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// maxComponent is the longest file name that common filesystems take.
const maxComponent = 255

// special are the mode bits no release needs and every attacker wants.
const special = 0o7000

// node is one path of the tree seen so far.
type node struct {
	path    string // as written, to tell a collision from a repetition
	kind    Kind
	implied bool   // a directory known only through what lies in it
	target  string // of a symbolic link
}

// tree is what the archive has built so far, keyed by case-folded path.
type tree struct {
	limits  Limits
	nodes   map[string]node
	links   []string // keys of the symbolic links
	parent  string   // the last directory found to exist
	root    bool     // the archive's own root was seen
	summary Summary
}

func newTree(l Limits) *tree { return &tree{limits: l, nodes: make(map[string]node)} }

// admitHeader checks one header against the rules and the tree so far. skip is true
// for the root directory itself.
func (t *tree) admitHeader(hdr *tar.Header) (e Entry, skip bool, err error) {
	kind, refused := kindOf(hdr)
	if refused != nil {
		return e, false, refused
	}
	clean, refused := t.cleanPath(hdr.Name)
	if refused != nil {
		return e, false, refused
	}
	if clean == "." {
		return e, true, t.admitRoot(hdr, kind)
	}
	e = Entry{Path: clean, Kind: kind, Mode: fs.FileMode(hdr.Mode).Perm(), ModTime: hdr.ModTime}
	switch kind {
	case File:
		e.Size = hdr.Size
	case Symlink:
		e.Target, refused = t.symlinkTarget(clean, hdr.Linkname)
	case Hardlink:
		e.Target, refused = t.hardlinkTarget(clean, hdr.Linkname)
	}
	if refused == nil {
		refused = t.addEntry(e)
	}
	if refused != nil {
		return e, false, refused
	}
	return e, false, nil
}

func (t *tree) admitRoot(hdr *tar.Header, kind Kind) error {
	if kind != Dir {
		return refuseEntry(BadPath, hdr.Name, "the root is not a directory")
	}
	if t.root {
		return refuseEntry(Duplicate, hdr.Name, "the path appears twice")
	}
	t.root = true
	return nil
}

// kindOf maps a header's type, and refuses what is not in a release.
func kindOf(hdr *tar.Header) (Kind, *Error) {
	if hdr.Mode&special != 0 {
		return 0, refuseEntry(SpecialBits, hdr.Name, "mode %04o has setuid, setgid or sticky bits", hdr.Mode&0o7777)
	}
	if hdr.Typeflag == tar.TypeGNUSparse {
		return 0, refuseEntry(Sparse, hdr.Name, "sparse files are not allowed")
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return 0, refuseEntry(Sparse, hdr.Name, "sparse files are not allowed")
		}
	}
	switch hdr.Typeflag {
	case tar.TypeReg:
		return File, nil
	case tar.TypeDir:
		return Dir, nil
	case tar.TypeSymlink:
		return Symlink, nil
	case tar.TypeLink:
		return Hardlink, nil
	default:
		return 0, refuseEntry(SpecialFile, hdr.Name, "type %q is not a file, a directory or a link", hdr.Typeflag)
	}
}

// cleanPath is name without ./ and doubled slashes, if it may be in a release.
func (t *tree) cleanPath(name string) (string, *Error) {
	if len(name) > t.limits.MaxPath {
		return "", refuseEntry(PathTooLong, name, "the path has more than %d bytes", t.limits.MaxPath)
	}
	if name == "" || strings.HasPrefix(name, "/") {
		return "", refuseEntry(BadPath, name, "the path is not relative")
	}
	if !isPrintable(name) {
		return "", refuseEntry(BadPath, name, "the path has control characters or is not UTF-8")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", refuseEntry(BadPath, name, "the path has a .. component")
		case len(part) > maxComponent:
			return "", refuseEntry(PathTooLong, name, "a component has more than %d bytes", maxComponent)
		case part != "" && part != ".":
			depth++
		}
	}
	if depth > t.limits.MaxDepth {
		return "", refuseEntry(TooDeep, name, "the path has more than %d components", t.limits.MaxDepth)
	}
	return path.Clean(name), nil
}

func isPrintable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, unicode.IsControl)
}

// symlinkTarget checks what can be known before the whole tree is: where the
// link leads is judged by checkLinks.
func (t *tree) symlinkTarget(name, target string) (string, *Error) {
	switch {
	case len(target) > t.limits.MaxPath:
		return "", refuseEntry(PathTooLong, name, "the link's target has more than %d bytes", t.limits.MaxPath)
	case target == "" || !isPrintable(target):
		return "", refuseEntry(BadLink, name, "the link's target is empty or has control characters")
	case strings.HasPrefix(target, "/"):
		return "", refuseEntry(LinkEscapes, name, "the link leads to %q, outside the tree", printable.ClipTo(target, maxQuoted))
	}
	return target, nil
}

func (t *tree) hardlinkTarget(name, target string) (string, *Error) {
	clean, err := t.cleanPath(target)
	if err != nil {
		return "", refuseEntry(LinkEscapes, name, "the hard link to %q is not allowed: %s", printable.ClipTo(target, maxQuoted), err.Detail)
	}
	if n, ok := t.nodes[foldCase(clean)]; !ok || n.kind != File || n.path != clean {
		return "", refuseEntry(BadLink, name, "the hard link's target %q is not an earlier file of the archive", printable.ClipTo(target, maxQuoted))
	}
	return clean, nil
}

// addEntry puts e into the tree, below directories that are made when missing.
func (t *tree) addEntry(e Entry) *Error {
	if err := t.addParents(e.Path); err != nil {
		return err
	}
	key := foldCase(e.Path)
	old, exists := t.nodes[key]
	switch {
	case exists && old.path != e.Path:
		return refuseEntry(CaseCollision, e.Path, "it differs only by case from %q", printable.ClipTo(old.path, maxQuoted))
	case exists && e.Kind == Dir && old.implied:
		old.implied = false
		t.nodes[key] = old
		return nil
	case exists:
		return refuseEntry(Duplicate, e.Path, "the path appears twice")
	}
	if e.Size > t.limits.MaxBytes-t.summary.Bytes {
		return refuseEntry(TooManyBytes, e.Path, "the files announce more than %d bytes", t.limits.MaxBytes)
	}
	t.summary.Bytes += e.Size
	return t.insertNode(key, node{path: e.Path, kind: e.Kind, target: e.Target})
}

// addParents makes sure that everything above p is a directory.
func (t *tree) addParents(p string) *Error {
	dir := path.Dir(p)
	if dir == "." || dir == t.parent {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if err := t.addParent(p, dir[:i]); err != nil {
			return err
		}
	}
	t.parent = dir
	return nil
}

func (t *tree) addParent(p, dir string) *Error {
	key := foldCase(dir)
	old, exists := t.nodes[key]
	switch {
	case !exists:
		return t.insertNode(key, node{path: dir, kind: Dir, implied: true})
	case old.path != dir:
		return refuseEntry(CaseCollision, p, "its directory differs only by case from %q", printable.ClipTo(old.path, maxQuoted))
	case old.kind != Dir:
		return refuseEntry(BelowFile, p, "it lies below %q, which is not a directory", printable.ClipTo(old.path, maxQuoted))
	}
	return nil
}

func (t *tree) insertNode(key string, n node) *Error {
	if len(t.nodes) >= t.limits.MaxFiles {
		return refuseEntry(TooManyFiles, n.path, "more than %d entries", t.limits.MaxFiles)
	}
	t.nodes[key] = n
	switch n.kind {
	case Dir:
		t.summary.Dirs++
	case Symlink:
		t.summary.Links++
		t.links = append(t.links, key)
	default:
		t.summary.Files++
	}
	return nil
}

// foldCase maps paths that a case-insensitive filesystem takes for one to one key.
func foldCase(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

// foldRune is the same rune for all that are equal when case is ignored: a
// lower-case one, as the ASCII letters that fold leaves alone.
func foldRune(r rune) rune {
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return unicode.ToLower(smallest)
}
