package heartbeat

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// buffers are reused between heartbeats, unless they grew large.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var unzippers sync.Pool

const keepBuffer = 64 << 10

// body is a request's bytes, valid until release.
type body struct {
	data []byte
	buf  *bytes.Buffer
}

func (b *body) release() {
	if b.buf.Cap() <= keepBuffer {
		buffers.Put(b.buf)
	}
}

// readBody reads a request within the limit, which also holds for what it
// becomes when decompressed.
func readBody(r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	switch encoding := r.Header["Content-Encoding"]; {
	case len(encoding) == 0 || strings.EqualFold(encoding[0], "identity"):
		return readLimited(r.Body, limit)
	case len(encoding) > 1 || !strings.EqualFold(encoding[0], "gzip"):
		return nil, refuse(http.StatusUnsupportedMediaType, "content encoding %q is not known: send gzip or none", clip(encoding[0], 40))
	}
	z, err := unzip(io.LimitReader(r.Body, limit))
	if err != nil {
		return nil, errors.Join(errFormat, err)
	}
	defer unzippers.Put(z)
	return readLimited(z, limit)
}

func unzip(r io.Reader) (*gzip.Reader, error) {
	if z, ok := unzippers.Get().(*gzip.Reader); ok {
		return z, z.Reset(r)
	}
	return gzip.NewReader(r)
}

func readLimited(r io.Reader, limit int64) (*body, error) {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	b := &body{buf: buf}
	n, err := buf.ReadFrom(&io.LimitedReader{R: r, N: limit + 1})
	switch {
	case err != nil:
		b.release()
		return nil, errors.Join(refuse(http.StatusBadRequest, "the body could not be read"), err)
	case n > limit:
		b.release()
		return nil, tooLarge(limit)
	}
	b.data = buf.Bytes()
	return b, nil
}

func tooLarge(limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "the report is larger than %d bytes", limit)
}
