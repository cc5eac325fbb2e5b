package unpack

import (
	"fmt"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// Reason says in a machine-readable word why an archive is refused.
type Reason string

// The reasons. They are stable: servers and scripts compare them.
const (
	BadPath       Reason = "bad-path"       // absolute, .., control characters, not UTF-8
	PathTooLong   Reason = "path-too-long"  // of a path, a component or a link's target
	TooDeep       Reason = "too-deep"       //
	Duplicate     Reason = "duplicate"      // the same path twice
	CaseCollision Reason = "case-collision" // paths that differ only by case
	BelowFile     Reason = "below-file"     // a path below a file or a link
	LinkEscapes   Reason = "link-escapes"   // a link that leaves the tree
	BadLink       Reason = "bad-link"       // a hard link to nothing; an endless chain of links
	SpecialFile   Reason = "special-file"   // device, FIFO, socket, anything unknown
	SpecialBits   Reason = "special-bits"   // setuid, setgid, sticky
	Sparse        Reason = "sparse"         // holes make a small archive huge
	TooManyFiles  Reason = "too-many-files" //
	TooManyBytes  Reason = "too-many-bytes" //
	Truncated     Reason = "truncated"      // the stream ends too early
	TrailingData  Reason = "trailing-data"  // something follows the archive
	Corrupt       Reason = "corrupt"        // not gzip, not tar, wrong checksum
	NoControl     Reason = "no-control"     // no control at the root
	BadControl    Reason = "bad-control"    // a control that cannot be executed
)

// maxQuoted bounds the path of a stranger in an error.
const maxQuoted = 120

// Error is an archive refused.
type Error struct {
	Reason Reason
	Path   string // the entry, or empty when the stream as a whole is meant
	Detail string // what is wrong, for people
	Err    error  // the cause, if another library found it
}

// Error names the entry, what is wrong with it and the reason's word.
func (e *Error) Error() string {
	s := "archive refused"
	if e.Path != "" {
		s = fmt.Sprintf("archive refused at %q", printable.ClipTo(e.Path, maxQuoted))
	}
	s = fmt.Sprintf("%s: %s (%s)", s, e.Detail, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuseEntry(r Reason, path, format string, args ...any) *Error {
	return &Error{Reason: r, Path: path, Detail: fmt.Sprintf(format, args...)}
}
