package web

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// sessionLife is how long a login lasts.
const sessionLife = api.SessionLife

const sessionCookie = "ops_meta_session"

// session is what the cookie carries. It holds the token itself, or the secret
// of a person's session, sealed, so that every replica can read it and ends
// with what is in it.
type session struct {
	Token   string `json:"t"`
	Expires int64  `json:"e"` // Unix seconds
}

// sealer keeps sessions in cookies that only this server and its replicas can
// read or make (AES-256-GCM).
type sealer struct {
	aead cipher.AEAD
	now  func() time.Time
}

func newSealer(key [32]byte, now func() time.Time) (*sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, now: now}, nil
}

func (s *sealer) sealToken(token string) (string, error) {
	plain, err := json.Marshal(session{Token: token, Expires: s.now().Add(sessionLife).Unix()})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte(sessionCookie))), nil
}

// errNoSession says that the visitor has to log in.
var errNoSession = errors.New("no session")

// openSession returns the token of a request's session.
func (s *sealer) openSession(r *http.Request) (string, error) {
	c, err := r.Cookie(sessionCookie)
	if err != nil || len(c.Value) > 4096 {
		return "", errNoSession
	}
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return "", errNoSession
	}
	plain, err := s.aead.Open(nil, nil, sealed, []byte(sessionCookie))
	if err != nil {
		return "", errNoSession
	}
	var sess session
	if err := json.Unmarshal(plain, &sess); err != nil {
		return "", errNoSession
	}
	if now := s.now(); now.Unix() >= sess.Expires || sess.Expires > now.Add(sessionLife+time.Minute).Unix() { // or a clock was ahead
		return "", fmt.Errorf("%w: the last one ended", errNoSession)
	}
	return sess.Token, nil
}

// sessionCookieFor is the Set-Cookie of a session; an empty value ends it.
func sessionCookieFor(value string, secure bool) *http.Cookie {
	c := &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}
