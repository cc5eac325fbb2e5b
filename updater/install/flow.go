package install

import (
	"errors"
	"io"
	"sync"
)

// chunkSize is how much of the tarball is handled at a time; flowChunks of them
// may be under way between the network and the decompressor.
const (
	chunkSize  = 256 << 10
	flowChunks = 8
)

// flow carries the tarball from the one who downloads to the one who unpacks,
// with some slack between them.
type flow struct {
	chunks chan []byte
	free   chan []byte
	gone   chan struct{} // closed when nobody reads any more
	leave  sync.Once
	cur    []byte // being read
	rest   []byte // of cur
	broken error  // set before chunks is closed: why the stream ends early
	closed sync.Once
}

func newFlow() *flow {
	f := &flow{chunks: make(chan []byte, flowChunks), free: make(chan []byte, flowChunks+2), gone: make(chan struct{})}
	for range flowChunks + 2 {
		f.free <- nil
	}
	return f
}

// takeBuffer is an empty chunk to fill. It waits until one is free.
func (f *flow) takeBuffer() []byte {
	if b := <-f.free; b != nil {
		return b[:chunkSize]
	}
	return make([]byte, chunkSize)
}

// sendChunk hands a chunk over, which then belongs to the reader. When nobody reads
// any more the chunk is dropped.
func (f *flow) sendChunk(b []byte) {
	select {
	case f.chunks <- b:
	case <-f.gone:
		f.free <- b
	}
}

// dropChunk gives an unused buffer back.
func (f *flow) dropChunk(b []byte) { f.free <- b }

// endWith says that everything was sent, or with an error that nothing more comes.
// Only the first call counts.
func (f *flow) endWith(err error) {
	f.closed.Do(func() {
		f.broken = err
		close(f.chunks)
	})
}

// Read implements io.Reader for the unpacker.
func (f *flow) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.cur != nil {
			f.free <- f.cur
			f.cur = nil
		}
		b, ok := <-f.chunks
		switch {
		case !ok && f.broken != nil:
			return 0, f.broken
		case !ok:
			return 0, io.EOF
		}
		f.cur, f.rest = b, b
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// stopReading is called by the reader when it wants no more: what is sent from then
// on is dropped, and what was sent is given back.
func (f *flow) stopReading() {
	f.leave.Do(func() {
		close(f.gone)
		if f.cur != nil {
			f.free <- f.cur
			f.cur, f.rest = nil, nil
		}
		for {
			select {
			case b, ok := <-f.chunks:
				if !ok {
					return
				}
				f.free <- b
			default:
				return
			}
		}
	})
}

// errAbandoned ends the unpacking of a stream that is not worth going on with.
var errAbandoned = errors.New("the download is started afresh")
