package trust

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/internal/jsonbound"
)

// Bounds of a list of keys.
const (
	MaxListKeys  = 64
	MaxListBytes = 32 << 10
	maxListDepth = 6
)

// KeyList is which release and server keys count, in an epoch.
type KeyList struct {
	// Epoch grows with each list. A higher one also begins the replies' serials
	// anew: that is how an operator gets out of a serial that was too high.
	Epoch  int64     `json:"epoch"`
	Issued time.Time `json:"issued"`
	Keys   []Key     `json:"keys"`
}

// SignedList is a list of keys as it travels: the exact bytes, and a root key's
// signature of them.
type SignedList struct {
	List      string `json:"list"`      // a [KeyList] in JSON
	Signature string `json:"signature"` // a minisign signature's file
}

// Of are the keys of that use that count at now.
func (l KeyList) Of(use Use, now time.Time) Keys {
	var keys Keys
	for _, k := range l.Keys {
		if k.Use == use && (k.NotAfter.IsZero() || now.Before(k.NotAfter)) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// Validate checks a list. The error says what is wrong with it.
func (l KeyList) Validate() error {
	if l.Epoch < 1 {
		return fmt.Errorf("its epoch is %d: want 1 or more", l.Epoch)
	}
	if len(l.Keys) > MaxListKeys {
		return fmt.Errorf("it has %d keys: at most %d are allowed", len(l.Keys), MaxListKeys)
	}
	seen := map[string]bool{}
	for _, k := range l.Keys {
		if k.Use != UseRelease && k.Use != UseServer {
			return fmt.Errorf("key %s is for %q: want %s or %s", k.Key.ID(), k.Use, UseRelease, UseServer)
		}
		if seen[k.Key.ID()] {
			return fmt.Errorf("key %s is in it twice", k.Key.ID())
		}
		seen[k.Key.ID()] = true
	}
	return nil
}

// SignList signs a list with a root key.
func (k PrivateKey) SignList(l KeyList) (SignedList, error) {
	if err := l.Validate(); err != nil {
		return SignedList{}, fmt.Errorf("cannot sign the list of keys: %w", err)
	}
	data, err := json.Marshal(l)
	if err != nil {
		return SignedList{}, err
	}
	return SignedList{List: string(data), Signature: string(k.Sign(data, List(l.Epoch)))}, nil
}

// Verify checks that one of roots signed the list, and reads it.
func (s SignedList) Verify(roots Keys) (KeyList, error) {
	if len(s.List) > MaxListBytes {
		return KeyList{}, refuse(BadSignature, "the list of keys is over %d bytes", MaxListBytes)
	}
	signature, err := ParseSignature([]byte(s.Signature))
	if err != nil {
		return KeyList{}, err
	}
	l, err := s.parse()
	if err != nil {
		return KeyList{}, err
	}
	if _, err := signature.Verify(roots, DigestOf([]byte(s.List)), List(l.Epoch)); err != nil {
		return KeyList{}, err
	}
	return l, nil
}

// Read reads a list that nobody verifies here.
func (s SignedList) Read() (KeyList, error) { return s.parse() }

func (s SignedList) parse() (KeyList, error) {
	if err := jsonbound.Check([]byte(s.List), jsonbound.Limits{Depth: maxListDepth}); err != nil {
		return KeyList{}, refuse(BadSignature, "the list of keys is %v", err)
	}
	var l KeyList
	if err := json.Unmarshal([]byte(s.List), &l); err != nil {
		return KeyList{}, refuse(BadSignature, "that is not a list of keys: %v", err)
	}
	if err := l.Validate(); err != nil {
		return KeyList{}, refuse(BadSignature, "the list of keys is not allowed: %v", err)
	}
	return l, nil
}
