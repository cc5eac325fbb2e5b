package trust

import (
	"bytes"
	"crypto/ed25519"
	"hash"
	"io"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/crypto/blake2b"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// MaxSignature is how many bytes a signature's file may have.
const MaxSignature = 4 << 10

// Extension is what is added to a file's name, or to the path of its URL, for
// its signature's.
const Extension = ".minisig"

// Digest is the hash that signatures are made over. Bytes are written to it as
// they come by, and [Signature.Verify] is given it.
type Digest struct{ hash.Hash }

// NewDigest begins a digest of nothing yet.
func NewDigest() Digest {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // for keys that are too long, and there is none
	}
	return Digest{h}
}

// DigestOf is the digest of data.
func DigestOf(data []byte) Digest {
	d := NewDigest()
	_, _ = d.Write(data) // a hash's never fails
	return d
}

// DigestFrom is a digest of bytes that were hashed before: sum is their BLAKE2b-512.
func DigestFrom(sum []byte) Digest { return Digest{summed{NewDigest(), sum}} }

// summed is a hash that has its sum already.
type summed struct {
	hash.Hash
	sum []byte
}

func (s summed) Sum(b []byte) []byte { return append(b, s.sum...) }

// Signature is a signature that was read, and not yet verified.
type Signature struct {
	s       minisign.Signature
	text    string
	Subject Subject // what it says it is a signature of
}

// ParseSignature reads a signature's file. Its refusals have the code
// [BadSignature], or [OtherSubject] for a trusted comment that says nothing.
func ParseSignature(file []byte) (Signature, error) {
	if len(file) > MaxSignature {
		return Signature{}, refuse(BadSignature, "the signature is over %d bytes", MaxSignature)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(file); err != nil {
		return Signature{}, refuse(BadSignature, "that is not a signature of minisign: %s", printable.Line(err.Error()))
	}
	if s.Algorithm != minisign.HashEdDSA {
		return Signature{}, refuse(BadSignature, "the signature is of minisign's older kind, over the bytes and not over their digest: sign again with a minisign of version 0.10 or later, or with -H")
	}
	subject, err := parseSubject(s.TrustedComment)
	if err != nil {
		return Signature{}, err
	}
	return Signature{s: s, text: string(file), Subject: subject}, nil
}

// KeyID is the id of the key that it says it was made with.
func (s Signature) KeyID() string { return keyID(s.s.KeyID) }

// Text is the signature's file.
func (s Signature) Text() string { return s.text }

// Verify checks that the signature was made by one of keys over the bytes that
// digest has seen, and is one of want. It returns the key.
func (s Signature) Verify(keys Keys, digest Digest, want Subject) (PublicKey, error) {
	if len(keys) == 0 {
		return PublicKey{}, refuse(NoKeys, "no key is known that could have signed it")
	}
	key, found := keys.Find(s.KeyID())
	if !found {
		return PublicKey{}, refuse(UnknownKey, "it is signed with key %s, which does not count here: %s", s.KeyID(), countWords(keys))
	}
	if !ed25519.Verify(key.key[:], digest.Sum(nil), s.s.Signature[:]) {
		return PublicKey{}, refuse(BadSignature, "the signature of key %s is not of these bytes", s.KeyID())
	}
	signed := append(s.s.Signature[:len(s.s.Signature):len(s.s.Signature)], s.s.TrustedComment...)
	if !ed25519.Verify(key.key[:], signed, s.s.CommentSignature[:]) {
		return PublicKey{}, refuse(BadSignature, "the trusted comment is not the one that key %s signed", s.KeyID())
	}
	if s.Subject != want {
		return PublicKey{}, refuse(OtherSubject, "it is a good signature of %s, not of %s", s.Subject, want)
	}
	return key, nil
}

func countWords(keys Keys) string {
	if len(keys) == 1 {
		return "only " + keys[0].ID() + " does"
	}
	return "only " + strings.Join(keys.IDs(), ", ") + " do"
}

// Sign signs data as subject and returns the signature's file.
func (k PrivateKey) Sign(data []byte, subject Subject) []byte {
	file, _ := k.SignReader(bytes.NewReader(data), subject) // which never fails
	return file
}

// SignReader signs everything that r has, and returns the signature's file.
func (k PrivateKey) SignReader(r io.Reader, subject Subject) ([]byte, error) {
	reader := minisign.NewReader(r) // makes the digest, and signs that: the newer kind
	if _, err := io.Copy(io.Discard, reader); err != nil {
		return nil, err
	}
	return reader.SignWithComments(k.key, subject.comment(), "signature of ops-updater, key "+k.Public().ID()), nil
}
