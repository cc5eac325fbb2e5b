package heartbeat

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// buffers are reused between heartbeats, unless they grew large.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var unzippers sync.Pool

func newBuffer() *bytes.Buffer {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	return buf
}

func keepBuffer(buf *bytes.Buffer) {
	if buf.Cap() <= bodies.Small {
		buffers.Put(buf)
	}
}

// body is a report's bytes, valid until release.
type body struct {
	data []byte
	buf  *bytes.Buffer
	room *bodies.Room
	held int64 // of room
}

func (b *body) releaseBuffer() {
	keepBuffer(b.buf)
	if b.held > 0 {
		b.room.Give(b.held)
	}
}

// reserveRoom takes room for a report that is larger than most.
func (b *body) reserveRoom(bytes int64) error {
	if !b.room.Take(bytes) {
		return refuseWith(http.StatusServiceUnavailable, "too many large heartbeats at once: come again later")
	}
	b.held = bytes
	return nil
}

// receiveBody reads a request's body as it is sent, whole, and tells whether it
// is compressed.
func (h *Handler) receiveBody(w http.ResponseWriter, r *http.Request) (sent *bytes.Buffer, zipped bool, err error) {
	switch encoding := r.Header["Content-Encoding"]; {
	case len(encoding) == 0 || strings.EqualFold(encoding[0], "identity"):
	case len(encoding) == 1 && strings.EqualFold(encoding[0], "gzip"):
		zipped = true
	default:
		bodies.LeaveUnread(w)
		return nil, false, refuseWith(http.StatusUnsupportedMediaType, "content encoding %q is not known: send gzip or none", printable.ClipTo(encoding[0], 40))
	}
	sent = newBuffer()
	err = h.arrivals.Read(bodies.Exchange{W: w, R: r, From: func() string { return h.opts.Address(r) }, Limit: h.opts.Limits.Body}, sent)
	if err != nil {
		keepBuffer(sent)
		return nil, false, whyUnread(err)
	}
	return sent, zipped, nil
}

func whyUnread(err error) error {
	var large *bodies.TooLarge
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, bodies.ErrGaveWay):
		return refuseWith(http.StatusServiceUnavailable, "%v", err)
	case errors.Is(err, bodies.ErrSlow):
		return refuseWith(http.StatusRequestTimeout, "%v", err)
	}
	return errors.Join(refuseWith(http.StatusBadRequest, "the body could not be read"), err)
}

// openBody makes a report of what was sent. The limit also holds for what it
// becomes when decompressed.
func (h *Handler) openBody(sent *bytes.Buffer, zipped bool) (*body, error) {
	b := &body{buf: sent, room: h.room}
	var err error
	if zipped {
		b.buf = newBuffer()
		err = b.unzipInto(sent.Bytes(), h.opts.Limits.Body)
		keepBuffer(sent)
	} else if sent.Len() > bodies.Small {
		err = b.reserveRoom(int64(sent.Len()))
	}
	if err != nil {
		b.releaseBuffer()
		return nil, err
	}
	b.data = b.buf.Bytes()
	return b, nil
}

// unzipInto takes room only for what turns out to be large.
func (b *body) unzipInto(sent []byte, limit int64) error {
	z, err := newUnzipper(bytes.NewReader(sent))
	if err != nil {
		return errors.Join(errFormat, err)
	}
	defer unzippers.Put(z)
	n, err := b.buf.ReadFrom(io.LimitReader(z, bodies.Small))
	if err == nil && n == bodies.Small {
		if err := b.reserveRoom(limit); err != nil {
			return err
		}
		var more int64
		more, err = b.buf.ReadFrom(io.LimitReader(z, limit+1-n))
		n += more
	}
	switch {
	case err != nil:
		return errors.Join(refuseWith(http.StatusBadRequest, "the body could not be read"), err)
	case n > limit:
		return tooLarge(limit)
	}
	return nil
}

func newUnzipper(r io.Reader) (*gzip.Reader, error) {
	if z, ok := unzippers.Get().(*gzip.Reader); ok {
		return z, z.Reset(r)
	}
	return gzip.NewReader(r)
}

func tooLarge(limit int64) error {
	return refuseWith(http.StatusRequestEntityTooLarge, "the report is larger than %d bytes", limit)
}
