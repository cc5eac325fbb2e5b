package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Names in the agent's directory. Everything with one of these prefixes is
// ours to remove.
const (
	partPrefix    = ".part-"
	stagingPrefix = ".staging-"
	infoSuffix    = ".json"
	tempSuffix    = ".new"
	infoLimit     = 16 << 10
)

// partName is the part's name for one release; a name too long for a file
// system is shortened to its digest.
func partName(agent, version string) string {
	name := agent + "-" + version
	if len(partPrefix+name+infoSuffix+tempSuffix) > 255 {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:])
	}
	return partPrefix + name
}

// origin says where a part comes from, so that a server can tell whether it
// still has the same file. It is kept beside the part.
type origin struct {
	Wanted       string // the digest the part was downloaded for
	URL          string
	ETag         string // strong ones only
	LastModified string
	Total        int64 // bytes of the whole file; 0: unknown
}

// validatorFor is what If-Range takes, for a request to url.
func (o origin) validatorFor(url string) string {
	switch {
	case o.URL != url:
		return ""
	case o.ETag != "":
		return o.ETag
	default:
		return o.LastModified
	}
}

// part is the tarball as far as it has been downloaded.
type part struct {
	root   *os.Root
	name   string
	file   *os.File
	origin origin
}

// openPart opens what an earlier run left, if it was for the same digest and
// is not larger than limit, or begins anew. size is how much there is.
func openPart(root *os.Root, name, wanted string, limit int64) (p *part, size int64, err error) {
	p = &part{root: root, name: name}
	if o, ok := p.readOrigin(); ok && o.Wanted == wanted {
		p.origin = o
		size = p.openUsable(limit)
	}
	p.origin.Wanted = wanted
	if size == 0 {
		err = p.beginEmpty()
	}
	return p, size, err
}

// openUsable opens the existing file and tells how much of it can be used.
func (p *part) openUsable(limit int64) int64 {
	f, err := p.root.OpenFile(p.name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > limit || (p.origin.Total > 0 && fi.Size() > p.origin.Total) {
		_ = f.Close()
		return 0
	}
	p.file = f
	return fi.Size()
}

// beginEmpty replaces whatever is there by an empty file.
func (p *part) beginEmpty() error {
	p.origin = origin{Wanted: p.origin.Wanted}
	if err := p.removeFiles(); err != nil {
		return err
	}
	f, err := p.root.OpenFile(p.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	p.file = f
	return err
}

// setOrigin remembers where the part comes from. It is only a help: when it is
// lost the download starts afresh.
func (p *part) setOrigin(o origin) error {
	o.Wanted = p.origin.Wanted
	if o == p.origin {
		return nil
	}
	p.origin = o
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return replaceFile(p.root, p.name+infoSuffix, b, 0o600, false)
}

func (p *part) readOrigin() (o origin, ok bool) {
	b, err := readSmall(p.root, p.name+infoSuffix, infoLimit)
	if err != nil {
		return o, false
	}
	return o, json.Unmarshal(b, &o) == nil
}

func (p *part) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
}

// removeFiles removes the part and its origin. It is closed first: what nobody has
// open any more is never written to the disk.
func (p *part) removeFiles() error {
	p.close()
	for _, name := range []string{p.name, p.name + infoSuffix} {
		if err := p.root.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// readSmall reads a regular file of at most limit bytes, following no link.
func readSmall(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > limit {
		return nil, fs.ErrInvalid
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// replaceFile puts data under name in one step; a reader sees the old content
// or the new one. With durable set it also survives a power cut.
func replaceFile(root *os.Root, name string, data []byte, perm os.FileMode, durable bool) error {
	temp := name + tempSuffix
	if err := root.RemoveAll(temp); err != nil {
		return err
	}
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
		return err
	}
	if durable {
		return syncDir(root, ".")
	}
	return nil
}

// cleanStale removes what earlier runs left, except for the part called own.
// Only whoever holds the lock may do that.
func cleanStale(root *os.Root, own string) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		stale := strings.HasPrefix(name, stagingPrefix) || (strings.HasPrefix(name, partPrefix) && name != own && name != own+infoSuffix)
		if !stale {
			continue
		}
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}
