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

// checkSpace decides whether an install may go on: what is still to be downloaded
// and to be unpacked must fit beside the reserve.
func checkSpace(free, download, unpacked, reserve int64) *Error {
	need := download + unpacked + reserve
	if free >= need {
		return nil
	}
	return failedBecause(CodeNoSpace, "cannot install: %d MiB are free, and about %d MiB are needed (%d to download, %d unpacked, %d in reserve): free some space",
		free>>20, inMebibytes(need), inMebibytes(download), inMebibytes(unpacked), inMebibytes(reserve))
}

// inMebibytes rounds up.
func inMebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// checkBefore checks the space for a tarball of total bytes (0: unknown), of which
// this much is missing and of which this much has been unpacked already.
func (g *guard) checkBefore(missing, total, unpacked int64) error {
	free, err := freeSpace(g.dir)
	if err != nil {
		return onDisk("install", err)
	}
	if e := checkSpace(free, missing, max(0, unpackedFactor*total-unpacked), g.reserve); e != nil {
		return e
	}
	return nil
}

// countWritten counts bytes and looks at the disk every now and then.
func (g *guard) countWritten(n int64) error {
	if g.unseen.Add(n) < spaceInterval {
		return nil
	}
	g.unseen.Store(0)
	free, err := freeSpace(g.dir)
	if err != nil {
		return err
	}
	if free < g.reserve {
		return failedBecause(CodeNoSpace, "cannot go on installing: only %d MiB are free, and %d MiB are to be left: free some space", free>>20, inMebibytes(g.reserve))
	}
	return nil
}
