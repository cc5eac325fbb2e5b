package unpack

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// inputBuffer is how much compressed input is read at a time.
const inputBuffer = 256 << 10

// gzipMagic is how gzip begins, however little of it there is.
const gzipMagic = "\x1f\x8b"

// source remembers how its reader ended, so that a download that breaks is
// never mistaken for a broken archive.
type source struct {
	r    io.Reader
	err  error // other than io.EOF
	done bool  // io.EOF was seen
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		s.done = true
	case err != nil:
		s.err = err
	}
	return n, err
}

func newBuffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, inputBuffer) }

// members reads the members of a gzip stream one after the other, as one. What follows the
// last one is [gzip.ErrHeader], however little of it there is.
type members struct {
	gz *gzip.Reader
	in *bufio.Reader // of gz
}

func newMembers(gz *gzip.Reader, in *bufio.Reader) *members {
	gz.Multistream(false)
	return &members{gz, in}
}

func (m *members) Read(p []byte) (int, error) {
	n, err := m.gz.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	head, err := m.in.Peek(len(gzipMagic))
	switch {
	case len(head) == 0:
		return n, err // the end, or why it cannot be seen
	case string(head) != gzipMagic:
		return n, gzip.ErrHeader
	}
	if err := m.gz.Reset(m.in); err != nil {
		return n, err
	}
	m.gz.Multistream(false)
	return n, nil
}

// bounded lets through a limited number of decompressed bytes and notes when
// the stream ended under its reader.
type bounded struct {
	r     io.Reader
	left  int64
	limit int64
	ended bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, refuseEntry(TooManyBytes, "", "more than %d bytes come out of it", b.limit)
	}
	if errors.Is(err, io.EOF) { // without bytes, see ahead.Read
		b.ended = true
	}
	return n, err
}

// expectZeros reads what follows the end-of-archive marker: tar pads with
// zeros, and nothing else may be there.
func (b *bounded) expectZeros() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := b.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return refuseEntry(TrailingData, "", "data follows the end of the archive")
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, gzip.ErrHeader):
			return &Error{Reason: TrailingData, Detail: "data follows the compressed stream", Err: err}
		case err != nil:
			return err
		}
	}
}

// body is one file's content, which remembers why it could not be read.
type body struct {
	r   io.Reader
	err error // other than io.EOF
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
