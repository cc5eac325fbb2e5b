package unpack

import "io"

// The decompressor works ahead of the unpacking by at most aheadBlocks
// blocks, so that neither waits for the other while there is something to do.
const (
	aheadBlock  = 512 << 10
	aheadBlocks = 8
)

// ahead reads from another reader in a goroutine of its own.
type ahead struct {
	full chan block
	free chan []byte
	quit chan struct{}
	done chan struct{}
	cur  block
	rest []byte // of cur
}

// block is what one reading brought: bytes, and then perhaps an error.
type block struct {
	b   []byte
	err error
}

func newAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan block, aheadBlocks), free: make(chan []byte, aheadBlocks+1), quit: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.free) {
		a.free <- nil
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.done)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			return
		}
		if b == nil {
			b = make([]byte, aheadBlock)
		}
		n, err := fillBlock(r, b[:aheadBlock])
		select {
		case a.full <- block{b[:n], err}:
		case <-a.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// fillBlock reads until b is full; the error is the reader's own.
func fillBlock(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// Read implements io.Reader. It never returns bytes together with an error.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.b != nil {
			a.free <- a.cur.b
		}
		a.cur = <-a.full
		a.rest = a.cur.b
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close ends the goroutine, which may still be reading once more, and waits
// for it.
func (a *ahead) close() {
	close(a.quit)
	<-a.done
}
