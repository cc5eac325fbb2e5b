package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

// Reasons of an [Error]. They are stable: the journal and the server compare
// them.
const (
	ReasonBadJob         = "bad-job"         // the job itself makes no sense
	ReasonNoDigest       = "no-digest"       // nothing to verify the tarball with
	ReasonBadDigestFile  = "bad-digest-file" // the .md5 file is not in md5sum's format
	ReasonNotFound       = "not-found"       // 404, 410
	ReasonForbidden      = "forbidden"       // 401, 403
	ReasonProxy          = "proxy"           // one on the way wants a password
	ReasonRefused        = "refused"         // another 4xx
	ReasonServerBusy     = "server-busy"     // 429, 503
	ReasonServerError    = "server-error"    // another 5xx, or an answer that makes no sense
	ReasonUnreachable    = "unreachable"     // no connection, or it broke
	ReasonStalled        = "stalled"         // next to nothing arrives
	ReasonBadRedirect    = "bad-redirect"    // too many, or to less safety
	ReasonTooLarge       = "too-large"       // more bytes than allowed
	ReasonWrongSize      = "wrong-size"      // other than announced
	ReasonWrongDigest    = "wrong-digest"    // not the release that is wanted
	ReasonHostileArchive = "hostile-archive" // breaks a rule of package unpack
	ReasonBadArchive     = "bad-archive"     // truncated or corrupt although its digest is right
	ReasonNoControl      = "no-control"      // no control at its root
	ReasonBadControl     = "bad-control"     // control cannot be executed
	ReasonNoSpace        = "no-space"        // the disk is full, or would be
	ReasonReadOnly       = "read-only"       // filesystem
	ReasonNoPermission   = "no-permission"   // the run user may not write there
	ReasonBusy           = "busy"            // another install of this agent goes on
	ReasonOccupied       = "occupied"        // something else has the version's name
	ReasonCancelled      = "cancelled"       // the context ended
	ReasonIO             = "io"              // any other failure of the disk
)

// Error is an install that failed. Nothing of it is left on the disk, but for
// the part of a download that can go on later.
type Error struct {
	Reason    string // one of the Reason constants
	Permanent bool   // trying again will not help until what is wanted changes
	Err       error  // what happened, for people
}

// Error is the cause, for people.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func failedBecause(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

func failedForGood(reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Permanent: true, Err: fmt.Errorf(format, args...)}
}

// diskReasons maps what the system says to what is wrong and how to mend it.
var diskReasons = []struct {
	is     error
	reason string
	hint   string
}{
	{syscall.ENOSPC, ReasonNoSpace, "the disk is full: free some space or inodes"},
	{syscall.EDQUOT, ReasonNoSpace, "the user's disk quota is used up: raise it or free some space"},
	{syscall.EROFS, ReasonReadOnly, "the filesystem is read-only: remount it writable"},
	{fs.ErrPermission, ReasonNoPermission, "the run user may not write there: give it the directory (chown)"},
}

// onDisk explains a failure of the local disk; it is never permanent, because
// somebody can mend it.
func onDisk(doing string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failedBecause(ReasonCancelled, "cannot %s: %w", doing, err)
	}
	for _, d := range diskReasons {
		if errors.Is(err, d.is) {
			return failedBecause(d.reason, "cannot %s: %s: %w", doing, d.hint, err)
		}
	}
	return failedBecause(ReasonIO, "cannot %s: %w", doing, err)
}

// inArchive explains why unpacking failed: the archive or the disk.
func inArchive(err error) *Error {
	var refused *unpack.Error
	if !errors.As(err, &refused) {
		return onDisk("unpack the release", err)
	}
	switch refused.Reason {
	case unpack.NoControl:
		return failedForGood(ReasonNoControl, "cannot use the release: %w", err)
	case unpack.BadControl:
		return failedForGood(ReasonBadControl, "cannot use the release: %w", err)
	case unpack.Truncated, unpack.Corrupt:
		return failedForGood(ReasonBadArchive, "cannot use the release: %w", err)
	default:
		return failedForGood(ReasonHostileArchive, "cannot use the release: %w", err)
	}
}

// freeSpace is what is free for an ordinary user below dir.
func freeSpace(dir *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("cannot see how much space is free: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between platforms
}
