package api

import (
	"errors"
	"fmt"
)

// ErrorKind says what sort of failure an [Error] is; the handlers turn each
// into one HTTP status.
type ErrorKind string

// The kinds of errors.
const (
	KindNotFound  ErrorKind = "notFound"  // there is no such thing
	KindExists    ErrorKind = "exists"    // it must not exist, but does
	KindConflict  ErrorKind = "conflict"  // somebody else changed it meanwhile, or it is still in use
	KindImmutable ErrorKind = "immutable" // it can never change
	KindInvalid   ErrorKind = "invalid"   // the input is wrong; Field says which
	KindTooLarge  ErrorKind = "tooLarge"  // the input is larger than allowed

	KindDenied       ErrorKind = "denied"       // who asks is not let in
	KindOutsideRemit ErrorKind = "outsideRemit" // the remits of who asks do not cover it
	KindUnavailable  ErrorKind = "unavailable"  // the database can't be reached; try again
	KindInternal     ErrorKind = "internal"     // everything else
)

// Error is what goes wrong in the domain. Message is for people and complete
// in itself; Err is its cause, for the log.
type Error struct {
	Kind    ErrorKind
	Message string
	Field   string // the input that is wrong, of KindInvalid
	Hint    string // what to do next
	Err     error

	Problems []FileProblem // everything wrong with a file, of KindInvalid

	Noun, Name string // what there is not, such as agent and demo: asked for, or named by the input
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [Error] of a kind.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// InvalidField returns an [Error] that says what is wrong with a field of what
// was sent.
func InvalidField(field, format string, args ...any) *Error {
	e := Errorf(KindInvalid, format, args...)
	e.Field = field
	return e
}

// Missing makes of a noun that is not there an input that is wrong; other
// errors pass as they are.
func Missing(err error, field string) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindNotFound {
		return err
	}
	return &Error{Kind: KindInvalid, Field: field, Message: err.Error(), Noun: e.Noun, Name: e.Name}
}

// KindOf returns the kind of the first [Error] in err's chain, KindInternal
// when there is none.
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
