package install

import (
	"os"
	"sync/atomic"
)

// unpackedFactor estimates how much larger a release is unpacked.
const unpackedFactor = 4

// guard sees to it that the disk does not fill up while we write.
type guard struct {
	dir     *os.File
	reserve int64
	unseen  atomic.Int64 // bytes written since the last look
}

// enough decides whether an install may go on: what is still to be downloaded
// and to be unpacked must fit beside the reserve.
func enough(free, download, unpacked, reserve int64) *Error {
	need := download + unpacked + reserve
	if free >= need {
		return nil
	}
	return failed(ReasonNoSpace, "cannot install: %d MiB are free, and about %d MiB are needed (%d to download, %d unpacked, %d in reserve): free some space",
		free>>20, mebibytes(need), mebibytes(download), mebibytes(unpacked), mebibytes(reserve))
}

// mebibytes rounds up.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// before checks the space for a tarball of total bytes (0: unknown), of which
// this much is missing and of which this much has been unpacked already.
func (g *guard) before(missing, total, unpacked int64) error {
	free, err := space(g.dir)
	if err != nil {
		return onDisk("install", err)
	}
	if e := enough(free, missing, max(0, unpackedFactor*total-unpacked), g.reserve); e != nil {
		return e
	}
	return nil
}

// wrote counts bytes and looks at the disk every now and then.
func (g *guard) wrote(n int64) error {
	if g.unseen.Add(n) < spaceInterval {
		return nil
	}
	g.unseen.Store(0)
	free, err := space(g.dir)
	if err != nil {
		return err
	}
	if free < g.reserve {
		return failed(ReasonNoSpace, "cannot go on installing: only %d MiB are free, and %d MiB are to be left: free some space", free>>20, mebibytes(g.reserve))
	}
	return nil
}
