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
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// Codes of an [Error]. They are stable: the journal and the server compare
// them.
const (
	CodeBadJob         = "bad-job"         // the job itself makes no sense
	CodeNoDigest       = "no-digest"       // nothing to verify the tarball with
	CodeBadDigestFile  = "bad-digest-file" // the .md5 file is not in md5sum's format
	CodeNotFound       = "not-found"       // 404, 410
	CodeForbidden      = "forbidden"       // 401, 403
	CodeProxy          = "proxy"           // one on the way wants a password
	CodeRefused        = "refused"         // another 4xx
	CodeServerBusy     = "server-busy"     // 429, 503
	CodeServerError    = "server-error"    // another 5xx, or an answer that makes no sense
	CodeUnreachable    = "unreachable"     // no connection, or it broke
	CodeStalled        = "stalled"         // next to nothing arrives
	CodeBadRedirect    = "bad-redirect"    // too many, or to less safety
	CodeTooLarge       = "too-large"       // more bytes than allowed
	CodeWrongSize      = "wrong-size"      // other than announced
	CodeWrongDigest    = "wrong-digest"    // not the release that is wanted
	CodeHostileArchive = "hostile-archive" // breaks a rule of package unpack
	CodeBadArchive     = "bad-archive"     // truncated or corrupt although its digest is right
	CodeNoControl      = "no-control"      // no control at its root
	CodeBadControl     = "bad-control"     // control cannot be executed
	CodeNoSpace        = job.CodeNoSpace
	CodeReadOnly       = job.CodeReadOnly
	CodeNoPermission   = job.CodeNoPermission
	CodeBusy           = "busy"      // another install of this agent goes on
	CodeOccupied       = "occupied"  // something else has the version's name
	CodeCancelled      = "cancelled" // the context ended
	CodeIO             = job.CodeIO

	// Of signatures. They are never [Error.Permanent]: the right signature may come later.
	CodeUnsigned     = string(trust.Unsigned)
	CodeBadSignature = string(trust.BadSignature)
	CodeUnknownKey   = string(trust.UnknownKey)
	CodeOtherSubject = string(trust.OtherSubject)
	CodeNoKeys       = string(trust.NoKeys)
)

// Error is an install that failed. Nothing of it is left on the disk, but for
// the part of a download that can go on later.
type Error struct {
	Code      string // one of the Code constants
	Permanent bool   // trying again will not help until what is wanted changes
	Err       error  // what happened, for people
}

// Error is the cause, for people.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func failedBecause(reason, format string, args ...any) *Error {
	return &Error{Code: reason, Err: fmt.Errorf(format, args...)}
}

func failedForGood(reason, format string, args ...any) *Error {
	return &Error{Code: reason, Permanent: true, Err: fmt.Errorf(format, args...)}
}

// diskReasons maps what the system says to what is wrong and how to mend it.
var diskReasons = []struct {
	is     error
	reason string
	hint   string
}{
	{syscall.ENOSPC, CodeNoSpace, "the disk is full: free some space or inodes"},
	{syscall.EDQUOT, CodeNoSpace, "the user's disk quota is used up: raise it or free some space"},
	{syscall.EROFS, CodeReadOnly, "the filesystem is read-only: remount it writable"},
	{fs.ErrPermission, CodeNoPermission, "the run user may not write there: give it the directory (chown)"},
}

// onDisk explains a failure of the local disk; it is never permanent, because
// somebody can mend it.
func onDisk(doing string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failedBecause(CodeCancelled, "cannot %s: %w", doing, err)
	}
	for _, d := range diskReasons {
		if errors.Is(err, d.is) {
			return failedBecause(d.reason, "cannot %s: %s: %w", doing, d.hint, err)
		}
	}
	return failedBecause(CodeIO, "cannot %s: %w", doing, err)
}

// inArchive explains why unpacking failed: the archive or the disk.
func inArchive(err error) *Error {
	var refused *unpack.Error
	if !errors.As(err, &refused) {
		return onDisk("unpack the release", err)
	}
	switch refused.Reason {
	case unpack.NoControl:
		return failedForGood(CodeNoControl, "cannot use the release: %w", err)
	case unpack.BadControl:
		return failedForGood(CodeBadControl, "cannot use the release: %w", err)
	case unpack.Truncated, unpack.Corrupt:
		return failedForGood(CodeBadArchive, "cannot use the release: %w", err)
	default:
		return failedForGood(CodeHostileArchive, "cannot use the release: %w", err)
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
