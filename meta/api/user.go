package api

import (
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// User is a person who logs in with a name and a password.
type User struct {
	Name string `json:"name"`
	Role Role   `json:"role"` // viewer, operator or admin

	// Remits are what an operator may change at most; none: all that the role may.
	// Left out of a change (nil) they stay as they are; an empty list takes them away.
	Remits Remits `json:"remits,omitzero"`

	// Password is written and never read back; left out of a change it stays as
	// it is.
	Password    string     `json:"password,omitempty"`
	PasswordSet *time.Time `json:"passwordSet,omitempty"` // when that was last set
	CreatedAt   time.Time  `json:"createdAt"`
	CreatedBy   string     `json:"createdBy"`
	Revision    int64      `json:"revision"`
}

// Bounds of a password.
const (
	MinPassword = 10   // characters
	MaxPassword = 1024 // bytes
)

// Validate checks u by itself. The error is an [*Error] of KindInvalid with
// its Field.
func (u User) Validate() error {
	if err := validName("name", u.Name); err != nil {
		return err
	}
	switch u.Role {
	case RoleViewer, RoleOperator, RoleAdmin:
	default:
		return fieldErr("role", "%q is not for people: want viewer, operator or admin", printable.Clip(string(u.Role)))
	}
	if err := validateRemits(u.Role, u.Remits); err != nil || u.Password == "" {
		return err
	}
	return ValidatePassword(u.Password)
}

// ValidatePassword refuses a password that is soon guessed, or endless. The
// error is an [*Error] of KindInvalid with its Field.
func ValidatePassword(password string) error {
	switch n := len([]rune(password)); {
	case n < MinPassword:
		return fieldErr("password", "has %d characters: want %d or more", n, MinPassword)
	case len(password) > MaxPassword:
		return fieldErr("password", "is longer than %d bytes", MaxPassword)
	}
	return nil
}

// Login is what somebody says to be let in.
type Login struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// NewPassword changes the password of who is logged in.
type NewPassword struct {
	Current  string `json:"current"`
	Password string `json:"password"`
}

// Session is a person who is logged in. It speaks with a secret of its own,
// as a token does, which is shown once and stored only as a hash.
type Session struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"` // the person's
	Role      Role       `json:"role"` // as of the login
	Remits    Remits     `json:"remits,omitempty"`
	Provider  string     `json:"provider,omitempty"` // the issuer of who vouches for them; empty: a user of this server
	Subject   string     `json:"subject,omitempty"`  // whom the provider knows them as, for good
	Secret    string     `json:"secret,omitempty"`
	From      string     `json:"from"` // the address of the login
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
	LastUsed  *time.Time `json:"lastUsed,omitempty"`
}

// SessionLife is how long a login lasts.
const SessionLife = 12 * time.Hour

// sessionPrefix begins the secrets of sessions, and no others.
const sessionPrefix = "os_"

// SessionSecret is the secret of a session, made of random text.
func SessionSecret(random string) string { return sessionPrefix + strings.ToLower(random) }

// IsSessionSecret tells a session's secret from a token's.
func IsSessionSecret(secret string) bool { return strings.HasPrefix(secret, sessionPrefix) }

// Self is the session that one speaks with, where an id is asked for.
const Self = "self"

// AsToken is the session as what it is to the server: a token of the person's
// that ends.
func (s Session) AsToken() Token {
	return Token{ID: s.ID, Name: s.Name, Role: s.Role, Remits: s.Remits, CreatedAt: s.CreatedAt, CreatedBy: s.Name, ExpiresAt: &s.ExpiresAt, LastUsed: s.LastUsed, IsSession: true, Provider: s.Provider}
}

// InWords is the token for messages.
func (t Token) InWords() string {
	if t.IsSession {
		return fmt.Sprintf("the session of %s", t.Name)
	}
	return "the token " + t.Name
}
