// Package unpack reads a release tarball (.tar.gz) that nobody has vouched for
// yet and hands out its entries one by one, each checked before it is seen:
//
//   - every path is relative, clean, printable UTF-8 and stays in the tree;
//   - only regular files, directories, symbolic links and hard links exist,
//     without setuid, setgid or sticky bits;
//   - no path appears twice, no two differ only by case, and nothing lies below
//     a file or a link;
//   - a symbolic link, followed through all the other links of the archive,
//     never leaves the tree; a hard link names an earlier regular file;
//   - counts and bytes are those really read, never those a header announces;
//   - the stream ends where the archive ends.
//
// What was handed out is to be trusted only when [Stream] or [Release] has
// returned without an error: links and the end can be judged only at the end.
//
// It is the only importer of archiver, and uses only its tar and gzip parts.
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/mholt/archiver/v4"
)

// Limits bound what an archive may cost its reader. Every field must be
// positive; see [DefaultLimits].
type Limits struct {
	MaxFiles int   // entries, and directories that are only implied by them
	MaxBytes int64 // decompressed bytes of the whole stream, headers included
	MaxPath  int   // bytes of a path or of a link's target
	MaxDepth int   // components of a path
}

// DefaultLimits are generous for any real agent: 200 000 files, 8 GiB, paths
// of 1 024 bytes in 64 components.
func DefaultLimits() Limits {
	return Limits{MaxFiles: 200_000, MaxBytes: 8 << 30, MaxPath: 1024, MaxDepth: 64}
}

func (l Limits) validate() error {
	if l.MaxFiles <= 0 || l.MaxBytes <= 0 || l.MaxPath <= 0 || l.MaxDepth <= 0 {
		return fmt.Errorf("cannot unpack: every limit must be positive, got %+v", l)
	}
	return nil
}

// Kind tells what an entry is.
type Kind int

// The kinds of entries that may exist in a release.
const (
	File Kind = iota
	Dir
	Symlink
	Hardlink
)

// Entry is one checked member of an archive.
type Entry struct {
	Path    string      // relative, clean, slash-separated, without a leading ./
	Kind    Kind        //
	Mode    fs.FileMode // permission bits only
	Size    int64       // of a File, as announced; Body ends there or fails
	ModTime time.Time
	Target  string // of a Symlink: as written; of a Hardlink: a clean path of the archive

	// Body is a File's content, valid until the handler returns. What the
	// handler leaves unread is skipped.
	Body io.Reader
}

// Summary counts what an archive held.
type Summary struct {
	Files int   // regular files and hard links
	Dirs  int   // directories, implied ones included
	Links int   // symbolic links
	Bytes int64 // content of regular files as announced, which the stream has confirmed
}

// Stream decompresses r and calls handle for each entry in the archive's
// order; the archive's own root (./) and pax global headers are not handed
// out. It returns handle's error as it is, r's error as it is, and an [*Error]
// for everything wrong with the archive.
//
// r is read ahead of the handler, in another goroutine, which has ended when
// Stream returns: an r that can block for ever must fail when ctx ends.
func Stream(ctx context.Context, r io.Reader, l Limits, handle func(Entry) error) (Summary, error) {
	if err := l.validate(); err != nil {
		return Summary{}, err
	}
	src := &source{r: r}
	in := newBuffered(src)
	if head, _ := in.Peek(len(gzipMagic)); src.err == nil && !strings.HasPrefix(gzipMagic, string(head)) {
		return Summary{}, refuseEntry(Corrupt, "", "it is not gzip")
	}
	gz, err := archiver.Gz{}.OpenReader(in)
	if err != nil {
		return Summary{}, blameFor(src, err)
	}
	var stream io.Reader = gz
	if one, ok := gz.(*gzip.Reader); ok {
		stream = newMembers(one, in)
	}
	decompressed := newAhead(stream)
	content := &bounded{r: decompressed, left: l.MaxBytes, limit: l.MaxBytes}
	t := newTree(l)
	err = extractEntries(ctx, content, t, handle)
	decompressed.close()
	if closeErr := gz.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return Summary{}, blameFor(src, err)
	}
	if err := t.checkLinks(ctx); err != nil {
		return Summary{}, err
	}
	return t.summary, nil
}

// extractEntries walks the entries, then makes sure that nothing follows them.
func extractEntries(ctx context.Context, content *bounded, t *tree, handle func(Entry) error) error {
	err := archiver.Tar{}.Extract(ctx, content, func(_ context.Context, info archiver.FileInfo) error {
		hdr, ok := info.Header.(*tar.Header)
		if !ok {
			return refuseEntry(Corrupt, info.NameInArchive, "the entry has no tar header")
		}
		e, skip, err := t.admitHeader(hdr)
		if err != nil || skip {
			return err
		}
		return handOut(e, info, handle)
	})
	if err != nil {
		return err
	}
	if content.ended {
		return refuseEntry(Truncated, "", "the end-of-archive marker is missing")
	}
	return content.expectZeros()
}

// handOut gives e to the handler. When the body cannot be read, that is what
// went wrong, whatever the handler makes of it.
func handOut(e Entry, info archiver.FileInfo, handle func(Entry) error) error {
	var content *body
	if e.Kind == File {
		f, err := info.Open()
		if err != nil {
			return err
		}
		content = &body{r: f}
		e.Body = content
	}
	err := handle(e)
	if err == nil {
		return nil
	}
	if content != nil && content.err != nil {
		return content.err
	}
	return &handlerError{err}
}

// blameFor finds whose fault err is: the handler's, the reader's or the
// archive's.
func blameFor(src *source, err error) error {
	var handler *handlerError
	var own *Error
	switch {
	case errors.As(err, &handler):
		return handler.err
	case errors.As(err, &own):
		return own
	case src.err != nil:
		return src.err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Reason: Truncated, Detail: "the stream ends too early", Err: err}
	default:
		return &Error{Reason: Corrupt, Detail: "it is not a sound .tar.gz", Err: err}
	}
}

// handlerError carries the handler's own error out past archiver's wrapping.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }
