package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// ErrNoBlob is the cause when there is no content under a digest.
var ErrNoBlob = errors.New("no such content in the artifact store")

// Blob is content as the store keeps it.
type Blob struct {
	SHA256   string
	Size     int64
	Modified time.Time // when it was last put
}

// Content is a blob opened for reading, ready for http.ServeContent.
type Content struct {
	io.ReadSeekCloser
	Blob
}

// Blobs keeps immutable content by its sha256 in lower-case hex.
type Blobs interface {
	// Put keeps the content of f, which has been hashed and is closed by the
	// caller. Content that is there already is kept once, and becomes new
	// again for [Store.Unused].
	Put(ctx context.Context, sha256 string, f *os.File, size int64) error
	// Open returns the content. Its error has ErrNoBlob as a cause when there
	// is none.
	Open(ctx context.Context, sha256 string) (*Content, error)
	// Redirect is an address where a client gets the content itself, under a
	// file name, for a while; empty when it must come from Open.
	Redirect(ctx context.Context, sha256, fileName string) (string, error)
	// List calls fn for everything kept, in no order.
	List(ctx context.Context, fn func(Blob) error) error
	// Remove forgets content last put before a moment; content that is not
	// there, or was put since, is left alone without an error.
	Remove(ctx context.Context, sha256 string, before time.Time) error
}

var digestRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// validDigest keeps anything but a sha256 from becoming a path or a key.
func validDigest(s string) error {
	if !digestRule.MatchString(s) {
		return fmt.Errorf("%q is not a sha256 in lower-case hex", printable.Clip(s))
	}
	return nil
}

// DigestLine is the content of the .md5 and .sha256 files beside a tarball,
// as md5sum and sha256sum write and check them.
func DigestLine(digest, fileName string) string { return digest + "  " + fileName + "\n" }
