package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"aead.dev/minisign"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// Use is what a key may sign.
type Use string

// The uses of keys.
const (
	UseRelease Use = "release" // releases and remote configurations; kept offline
	UseServer  Use = "server"  // replies; held by ops-meta
	UseRoot    Use = "root"    // lists of keys; kept offline
)

// Valid reports whether u is one of the uses.
func (u Use) Valid() bool { return u == UseRelease || u == UseServer || u == UseRoot }

// PublicKey is a minisign public key.
type PublicKey struct {
	id  uint64
	key [ed25519.PublicKeySize]byte
}

// publicKeySize is that of the bytes that a public key's text encodes: the
// algorithm, the key's id, the key.
const publicKeySize = 2 + 8 + ed25519.PublicKeySize

// ParsePublicKey reads a public key as minisign prints it: "RW…", 56
// characters, alone or below the comment line of a .pub file.
func ParsePublicKey(text string) (PublicKey, error) {
	var k minisign.PublicKey
	if len(text) > 4096 {
		return PublicKey{}, errors.New("it is too long for a minisign public key")
	}
	if err := k.UnmarshalText([]byte(strings.TrimSpace(text))); err != nil {
		return PublicKey{}, fmt.Errorf("%q is not a minisign public key: want the 56 characters RW… of its .pub file", printable.Clip(text))
	}
	return publicKeyOf(k)
}

func publicKeyOf(k minisign.PublicKey) (PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(k.String()[strings.LastIndexByte(k.String(), '\n')+1:])
	if err != nil || len(raw) != publicKeySize {
		return PublicKey{}, errors.New("it is not a minisign public key")
	}
	return PublicKey{id: k.ID(), key: [ed25519.PublicKeySize]byte(raw[10:])}, nil
}

// ID is the key's id, 16 upper-case hexadecimal digits, as minisign prints it.
func (k PublicKey) ID() string { return keyID(k.id) }

func keyID(id uint64) string { return fmt.Sprintf("%016X", id) }

// String is the key as minisign prints it, 56 characters.
func (k PublicKey) String() string {
	raw := append([]byte("Ed"), make([]byte, 8)...)
	for i := range 8 {
		raw[2+i] = byte(k.id >> (8 * i))
	}
	return base64.StdEncoding.EncodeToString(append(raw, k.key[:]...))
}

// MarshalText is [PublicKey.String].
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is [ParsePublicKey].
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePublicKey(string(text))
	return err
}

// File is what a .pub file of the key says.
func (k PublicKey) File() string {
	return "untrusted comment: minisign public key " + k.ID() + "\n" + k.String() + "\n"
}

// PrivateKey is a minisign private key.
type PrivateKey struct{ key minisign.PrivateKey }

// NewKey makes a pair of keys.
func NewKey() (PrivateKey, error) {
	_, private, err := minisign.GenerateKey(nil)
	return PrivateKey{private}, err
}

// ErrPassword is returned for a key file that is encrypted, and a password that is not its.
var ErrPassword = errors.New("the password is wrong")

// ErrEncrypted is returned for a key file that is encrypted when no password was given.
var ErrEncrypted = errors.New("the key is encrypted: it wants its password")

// ParsePrivateKey reads a private key's file, as minisign makes it. password is
// empty for a key without one.
func ParsePrivateKey(file []byte, password string) (PrivateKey, error) {
	if len(file) > 4096 || !bytes.HasPrefix(file, []byte("untrusted comment: ")) {
		return PrivateKey{}, errors.New("it is not a minisign private key")
	}
	if minisign.IsEncrypted(file) {
		if password == "" {
			return PrivateKey{}, ErrEncrypted
		}
		k, err := minisign.DecryptKey(password, file)
		if err != nil {
			return PrivateKey{}, ErrPassword
		}
		return PrivateKey{k}, nil
	}
	var k minisign.PrivateKey
	if err := k.UnmarshalText(file); err != nil {
		return PrivateKey{}, errors.New("it is not a minisign private key")
	}
	return PrivateKey{k}, nil
}

// File is what a private key's file says, encrypted with password unless that is empty.
func (k PrivateKey) File(password string) ([]byte, error) {
	if password == "" {
		return k.key.MarshalText()
	}
	return minisign.EncryptKey(password, k.key)
}

// Public is the key that checks what k signs.
func (k PrivateKey) Public() PublicKey {
	public, ok := k.key.Public().(minisign.PublicKey)
	if !ok {
		return PublicKey{} // the library's own type
	}
	p, _ := publicKeyOf(public)
	return p
}

// Key is a public key in a list of keys.
type Key struct {
	Key  PublicKey `json:"key"`
	Use  Use       `json:"use"`            // [UseRelease] or [UseServer]
	Name string    `json:"name,omitempty"` // for people
	// NotAfter is when the key stops to count, or zero.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Keys are the public keys that count for something.
type Keys []PublicKey

// ParseKeys reads public keys. The error names the one that is none.
func ParseKeys(texts []string) (Keys, error) {
	var keys Keys
	for _, text := range texts {
		k, err := ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Find returns the key with that id.
func (ks Keys) Find(id string) (PublicKey, bool) {
	for _, k := range ks {
		if k.ID() == id {
			return k, true
		}
	}
	return PublicKey{}, false
}

// IDs are the ids of the keys.
func (ks Keys) IDs() []string {
	ids := make([]string, len(ks))
	for i, k := range ks {
		ids[i] = k.ID()
	}
	return ids
}
