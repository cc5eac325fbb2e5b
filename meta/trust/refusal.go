package trust

import (
	"errors"
	"fmt"
)

// Code is why something is not believed, for programs. The codes are the
// reason codes of docs/OPERATING.md.
type Code string

// Why something is not believed.
const (
	Unsigned     Code = "unsigned"      // there is no signature
	BadSignature Code = "signature-bad" // it is none, or not of these bytes
	UnknownKey   Code = "unknown-key"   // it was made with a key that does not count
	OtherSubject Code = "other-subject" // it is a good one of something else
	NoKeys       Code = "no-keys"       // nothing can be checked: there is no key of that use
	OtherHost    Code = "other-host"    // the reply was made for another host
	SerialBack   Code = "serial-back"   // the reply is older than one that was acted on
	EpochBack    Code = "epoch-back"    // the list of keys, or the reply's epoch, is an older one, or not one that was heard
	Expired      Code = "expired"       // the reply, or the key, is past its end
)

// Refusal is why something is not believed.
type Refusal struct {
	Code Code
	Text string // a clause, without the code
}

func (r *Refusal) Error() string { return r.Text }

func refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of a refusal in err's chain, or "".
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}
