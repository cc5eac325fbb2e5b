package api

import (
	"time"

	"github.com/ops-updater/ops-updater/meta/trust"
)

// KeyReport is whom the server's hosts can believe: the server's own keys, the list of
// keys that it passes on, and what hosts report. It has no private part of a key.
type KeyReport struct {
	Own   []OwnKey `json:"own"`   // the server's, the oldest first; empty: it signs nothing
	Roots []KeyID  `json:"roots"` // root keys that may sign the next list, as the server was told
	// Epoch of the list; 0: there is none, and hosts go by the keys of their cfg.json.
	Epoch    int64             `json:"epoch"`
	Issued   *time.Time        `json:"issued,omitempty"`
	SignedBy string            `json:"signedBy,omitempty"` // id of a root key
	Keys     []ListedKey       `json:"keys"`               // of the list
	List     *trust.SignedList `json:"list,omitempty"`     // as it was signed
	Lifetime int               `json:"lifetime"`           // of a signed reply, seconds
	Hosts    KeyHosts          `json:"hosts"`
}

// KeyID is a public key.
type KeyID struct {
	ID  string `json:"id"`  // 16 hexadecimal digits, as minisign prints it
	Key string `json:"key"` // RW…, as minisign prints it
}

// OwnKey is one of the server's own keys.
type OwnKey struct {
	KeyID
	CreatedAt time.Time `json:"createdAt"`
	Signs     bool      `json:"signs"`  // replies are signed with it now
	Listed    bool      `json:"listed"` // the list names it
}

// ListedKey is a key of the list.
type ListedKey struct {
	KeyID
	Use      trust.Use  `json:"use"` // release or server
	Name     string     `json:"name,omitempty"`
	NotAfter *time.Time `json:"notAfter,omitempty"`
	Expired  bool       `json:"expired,omitempty"`
}

// KeyHosts is what hosts report of what they verify.
type KeyHosts struct {
	Modes    map[string]int `json:"modes"`    // hosts by how strictly they verify: off, warn, require
	Epochs   map[string]int `json:"epochs"`   // hosts that verify anything, by the epoch of the list that they have
	Highest  int64          `json:"highest"`  // the highest of these epochs
	Refusing map[string]int `json:"refusing"` // hosts that do not believe this server, by reason code
}

// PublishKeyList has a signed list of keys passed on to hosts.
type PublishKeyList struct {
	List trust.SignedList `json:"list"`
	// Root is the root key that signed it, RW…; needed as long as the server does
	// not know it.
	Root      string `json:"root,omitempty"`
	TrustRoot bool   `json:"trustRoot,omitempty"` // though the server knows other ones
	Force     bool   `json:"force,omitempty"`     // though it does not name the server's own key
}
