package trust

import (
	"encoding/base64"
	"time"
)

// ReplyHeader is the header in which a reply's signature is: base64 of the
// signature's file.
const ReplyHeader = "Ops-Signature"

// EncodeHeader is what [ReplyHeader] says of a signature's file.
func EncodeHeader(file []byte) string { return base64.StdEncoding.EncodeToString(file) }

// ParseHeader reads what [ReplyHeader] says.
func ParseHeader(value string) (Signature, error) {
	if value == "" {
		return Signature{}, refuse(Unsigned, "the reply is not signed")
	}
	if len(value) > base64.StdEncoding.EncodedLen(MaxSignature) {
		return Signature{}, refuse(BadSignature, "the signature of the reply is over %d bytes", MaxSignature)
	}
	file, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return Signature{}, refuse(BadSignature, "the signature of the reply is not base64")
	}
	return ParseSignature(file)
}

// Anchors are the keys that a host was given with its configuration.
type Anchors struct {
	Roots    Keys // sign lists of keys; may be empty
	Releases Keys // count until a list was heard
	Servers  Keys // count until a list was heard
}

// Heard is what a host must not forget of the replies that it acted on. Its zero
// value is that of a host that heard nothing.
type Heard struct {
	Epoch  int64       `json:"epoch,omitempty"`  // of the list of keys, or 0
	Serial int64       `json:"serial,omitempty"` // the highest one of the epoch
	List   *SignedList `json:"list,omitempty"`   // the list of keys, or nil
}

// Statement is what a signed reply says of itself in its body.
type Statement struct {
	Host    string
	Epoch   int64
	Serial  int64
	Expires time.Time
	List    *SignedList // of a higher epoch than the host's, or nil
}

// Counting are the keys that count for a host, by what it was given and what it
// heard.
type Counting struct {
	anchors Anchors
	list    *KeyList // nil: none was heard that counts
}

// Counting verifies the list of keys, once for as many questions as there are. A list
// that the host's root keys do not vouch for (any more) does not count.
func (h Heard) Counting(a Anchors) Counting {
	c := Counting{anchors: a}
	if h.List != nil {
		if l, err := h.List.Verify(a.Roots); err == nil {
			c.list = &l
		}
	}
	return c
}

// Keys are the keys of that use that count at now.
func (c Counting) Keys(use Use, now time.Time) Keys {
	switch {
	case use == UseRoot:
		return c.anchors.Roots
	case c.list != nil:
		return c.list.Of(use, now)
	case use == UseRelease:
		return c.anchors.Releases
	}
	return c.anchors.Servers
}

// Judge says whether a reply is believed: body is its exact bytes, signature what its
// header said, said what its body says of itself, host the name that the
// heartbeat had, now this host's clock. It returns what is to be kept before the
// reply is acted on.
//
// A list of keys of a higher epoch counts whoever sent it, since a root key signed it: the
// returned Heard has it even when the reply itself is refused.
func (h Heard) Judge(a Anchors, body []byte, header string, said Statement, host string, now time.Time) (Heard, error) {
	next, err := h.Hear(a, said.List)
	if err != nil {
		return h, err
	}
	signature, err := ParseHeader(header)
	if err != nil {
		return next, err
	}
	if _, err := signature.Verify(next.Counting(a).Keys(UseServer, now), DigestOf(body), Reply()); err != nil {
		return next, err
	}
	switch {
	case said.Host != host:
		return next, refuse(OtherHost, "the reply was made for host %q, not for %q", said.Host, host)
	case said.Expires.IsZero():
		return next, refuse(Expired, "the reply does not say when it expires")
	case !now.Before(said.Expires):
		return next, refuse(Expired, "the reply expired at %s (it is %s here)", said.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case said.Epoch != next.Epoch && len(a.Roots) > 0:
		return next, refuse(EpochBack, "the reply is of epoch %d, the list of keys of epoch %d", said.Epoch, next.Epoch)
	case said.Serial < next.Serial:
		return next, refuse(SerialBack, "the reply has serial %d, after one with %d", said.Serial, next.Serial)
	}
	next.Serial = said.Serial
	return next, nil
}

// Hear takes over a list of a higher epoch that one of the root keys signed. One of
// the same or a lower epoch is passed over: servers send it to hosts that they
// know nothing of. So is every list where there are no root keys.
func (h Heard) Hear(a Anchors, list *SignedList) (Heard, error) {
	if list == nil || len(a.Roots) == 0 {
		return h, nil
	}
	l, err := list.Verify(a.Roots)
	if err != nil {
		return h, err
	}
	if l.Epoch <= h.Epoch {
		return h, nil
	}
	return Heard{Epoch: l.Epoch, List: list}, nil
}
