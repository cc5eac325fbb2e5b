package install

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// digests of a tarball in lower-case hex; an empty one is not known.
type digests struct{ md5, sha256 string }

// match reports whether got is what is wanted; at least one must be wanted.
func (want digests) match(got digests) bool {
	if want == (digests{}) {
		return false
	}
	return (want.md5 == "" || want.md5 == got.md5) && (want.sha256 == "" || want.sha256 == got.sha256)
}

// keyOf identifies the wanted tarball in an origin.
func (want digests) keyOf() string { return "md5:" + want.md5 + " sha256:" + want.sha256 }

func newDigests(md5, sha256 string) digests {
	return digests{md5: strings.ToLower(md5), sha256: strings.ToLower(sha256)}
}

// pass is one reading of the tarball from its first byte to its last: into the
// part, the hashes and the unpacker at once.
type pass struct {
	part  *part
	stage *stage
	flow  *flow
	done  chan struct{} // closed when unpacking has ended
	tree  staged        // what was unpacked, once done is closed
	err   error         // why unpacking failed, once done is closed

	md5, sha256 hash.Hash
	signed      *trust.Digest // what a signature is over; nil when none is asked for
	size        int64         // bytes so far
	pure        bool          // all of them from one server in one go
}

// startPass begins a reading; the unpacker runs until settle or abandon.
func startPass(ctx context.Context, p *part, s *stage, v job.Verify) *pass {
	ps := &pass{part: p, stage: s, flow: newFlow(), done: make(chan struct{}), md5: md5.New(), sha256: sha256.New(), pure: true}
	if v.Asks() {
		signed := trust.NewDigest()
		ps.signed = &signed
	}
	go func() {
		defer close(ps.done)
		defer ps.flow.stopReading()
		ps.tree, ps.err = s.fillFrom(ctx, ps.flow)
	}()
	return ps
}

// replayPart feeds what an earlier run has downloaded.
func (ps *pass) replayPart(ctx context.Context) error {
	if _, err := ps.part.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ps.pure = false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := ps.flow.takeBuffer()
		n, err := io.ReadFull(ps.part.file, b)
		ps.feedAll(b[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ps.localError()
		}
		if err != nil {
			return err
		}
	}
}

// takeChunk appends a chunk, whose buffer came from flow.takeBuffer, to everything.
func (ps *pass) takeChunk(b []byte) error {
	if _, err := ps.part.file.Write(b); err != nil {
		ps.flow.dropChunk(b)
		return onDisk("store the download", err)
	}
	ps.feedAll(b)
	return ps.localError()
}

func (ps *pass) feedAll(b []byte) {
	ps.size += int64(len(b))
	ps.md5.Write(b)
	ps.sha256.Write(b)
	if ps.signed != nil {
		_, _ = ps.signed.Write(b) // a hash's never fails
	}
	ps.flow.sendChunk(b)
}

// localError is a failure of unpacking that does not depend on the tarball:
// then going on with the download is of no use. Whether a tarball is hostile or
// only not the right one is known when all of it has been hashed.
func (ps *pass) localError() error {
	select {
	case <-ps.done:
	default:
		return nil
	}
	if ps.err == nil {
		return nil
	}
	if e := inArchive(ps.err); !e.Permanent {
		return e
	}
	return nil
}

// finalDigests are those of everything read so far.
func (ps *pass) finalDigests() digests {
	return digests{md5: hex.EncodeToString(ps.md5.Sum(nil)), sha256: hex.EncodeToString(ps.sha256.Sum(nil))}
}

// waitForUnpacker waits for the unpacker to finish a complete tarball.
func (ps *pass) waitForUnpacker() (staged, error) {
	ps.flow.endWith(nil)
	<-ps.done
	if ps.err != nil {
		return staged{}, inArchive(ps.err)
	}
	return ps.tree, nil
}

// abandonUnpacking ends the unpacker and removes what it made.
func (ps *pass) abandonUnpacking() error {
	ps.flow.endWith(errAbandoned)
	<-ps.done
	return ps.stage.removeTree()
}
