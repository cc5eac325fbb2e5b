// Package password keeps passwords as what cannot be turned back into them:
// argon2id (RFC 9106) in the usual text form,
//
//	$argon2id$v=19$m=19456,t=2,p=1$SALT$KEY
//
// What a hash costs stands in it, so that the cost of new ones can be raised
// while old ones count on.
package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash costs: 19 MiB and two passes, the least that OWASP's guide to the
// storage of passwords recommends of argon2id. More memory would let a flood of
// logins starve the hosts' heartbeats.
const (
	memory  = 19 << 10 // KiB
	passes  = 2
	threads = 1
	saltLen = 16
	keyLen  = 32
)

// Limits of a hash that is read: what somebody wrote into the database must not
// cost everything.
const (
	maxMemory = 256 << 10 // KiB
	maxPasses = 16
	maxHash   = 512 // bytes of its text
)

// Nobody is a hash that no password has. Who checks a password of a name that
// there is not checks it against this, so that it takes as long.
const Nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Hash is what is kept of a password.
func Hash(password string) string {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, passes, memory, threads, keyLen)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// Matches reports whether a hash is a password's. A hash that cannot be read
// is nobody's.
func Matches(hash, password string) bool {
	h, err := parseHash(hash)
	if err != nil {
		h, _ = parseHash(Nobody) // as much work
		h.key = nil
	}
	key := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, keyLen)
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

type parsed struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

var errHash = errors.New("not a hash of argon2id")

func parseHash(text string) (h parsed, err error) {
	parts := strings.Split(text, "$")
	if len(text) > maxHash || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); n != 3 || err != nil {
		return h, errHash
	}
	if h.memory > maxMemory || h.passes == 0 || h.passes > maxPasses || h.threads == 0 {
		return h, errHash
	}
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil {
		return h, errHash
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(h.key) != keyLen {
		return h, errHash
	}
	return h, nil
}
