// Package keyring is what a server keeps of keys: its own, with which it signs
// replies, the list that tells hosts which keys count, and the root keys that
// may sign such a list. It never has a release key, nor a root key's private part.
//
// Every change is a function of a ring that returns another; who keeps it does so
// in one transaction, so that all servers of a database sign with the same key.
package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/trust"
)

// Own is a key of the server's own.
type Own struct {
	Private string    `json:"private"` // a minisign private key's file, without a password
	Created time.Time `json:"created"`
}

// Ring is a server's keys. Its zero value is that of a server that signs nothing.
type Ring struct {
	// Own are the server's keys, the oldest first: the one that signs, and at
	// most one that is to take its place.
	Own   []Own             `json:"own,omitempty"`
	Signs string            `json:"signs,omitempty"` // id of the one that signs
	List  *trust.SignedList `json:"list,omitempty"`  // nil: none was published
	Roots trust.Keys        `json:"roots,omitempty"` // may sign the next list
}

// Refusal is why a change is not made.
type Refusal struct {
	Text, Hint string
	Conflict   bool // with what is there; else the input itself is wrong
}

func (r *Refusal) Error() string { return r.Text }

func conflict(hint, format string, args ...any) error {
	return &Refusal{Text: fmt.Sprintf(format, args...), Hint: hint, Conflict: true}
}

func invalid(hint, format string, args ...any) error {
	return &Refusal{Text: fmt.Sprintf(format, args...), Hint: hint}
}

// Key reads a key's private part.
func (o Own) Key() (trust.PrivateKey, error) { return trust.ParsePrivateKey([]byte(o.Private), "") }

// ID is the key's id, or empty for one that cannot be read.
func (o Own) ID() string {
	k, err := o.Key()
	if err != nil {
		return ""
	}
	return k.Public().ID()
}

// Signer is the key that signs replies; false when there is none.
func (r Ring) Signer() (trust.PrivateKey, bool) {
	i := slices.IndexFunc(r.Own, func(o Own) bool { return o.ID() == r.Signs })
	if r.Signs == "" || i < 0 {
		return trust.PrivateKey{}, false
	}
	k, err := r.Own[i].Key()
	return k, err == nil
}

// Next is the key that waits to take the signer's place; false when there is none.
func (r Ring) Next() (trust.PublicKey, bool) {
	if len(r.Own) == 0 || r.Own[len(r.Own)-1].ID() == r.Signs {
		return trust.PublicKey{}, false
	}
	k, err := r.Own[len(r.Own)-1].Key()
	return k.Public(), err == nil
}

// Keys are the list's, as it was published; an empty list of epoch 0 when there is none.
func (r Ring) Keys() trust.KeyList {
	if r.List == nil {
		return trust.KeyList{}
	}
	l, err := r.List.Read()
	if err != nil {
		return trust.KeyList{}
	}
	return l
}

// SignedBy is the id of the root key that signed the list, or empty.
func (r Ring) SignedBy() string {
	if r.List == nil {
		return ""
	}
	s, err := trust.ParseSignature([]byte(r.List.Signature))
	if err != nil {
		return ""
	}
	return s.KeyID()
}

// WithNewKey has another key of the server's own: the first one signs at once, a
// later one waits. One that waits already is returned instead of a third.
func (r Ring) WithNewKey(now time.Time) (Ring, trust.PublicKey, error) {
	if next, waits := r.Next(); waits {
		return r, next, nil
	}
	k, err := trust.NewKey()
	if err != nil {
		return r, trust.PublicKey{}, err
	}
	file, err := k.File("")
	if err != nil {
		return r, trust.PublicKey{}, err
	}
	r.Own = append(slices.Clone(r.Own), Own{Private: string(file), Created: now.UTC()})
	if len(r.Own) == 1 {
		r.Signs = k.Public().ID()
	}
	return r, k.Public(), nil
}

// WithNextSigning has the key that waits sign, and the one before thrown away.
// Where a list decides, only a list that names the key does that.
func (r Ring) WithNextSigning() (Ring, error) {
	next, waits := r.Next()
	if !waits {
		return r, conflict("make one first: ops-meta key new --use server", "no key waits to take the place of the one that signs")
	}
	if r.List != nil && !names(r.Keys(), next.ID()) {
		return r, conflict("sign a list with it: ops-meta key rotate --root KEYFILE",
			"the list of keys, of epoch %d, does not name key %s: hosts that go by it would refuse every reply", r.Keys().Epoch, next.ID())
	}
	r.Signs = next.ID()
	return r.withoutUnused(), nil
}

// Without forgets a key: one of the server's own that does not sign, or a root key.
func (r Ring) Without(id string) (Ring, error) {
	id = strings.ToUpper(id)
	if id == r.Signs {
		return r, conflict("put another in its place: ops-meta key rotate", "key %s signs this server's replies", id)
	}
	if _, known := r.Roots.Find(id); known {
		r.Roots = slices.DeleteFunc(slices.Clone(r.Roots), func(k trust.PublicKey) bool { return k.ID() == id })
		return r, nil
	}
	own := slices.DeleteFunc(slices.Clone(r.Own), func(o Own) bool { return o.ID() == id })
	if len(own) < len(r.Own) {
		r.Own = own
		return r, nil
	}
	if names(r.Keys(), id) {
		return r, conflict("sign a list without it: ops-meta key revoke "+id+" --root KEYFILE", "key %s is in the list of keys", id)
	}
	return r, conflict("ops-meta key list shows those that there are", "there is no key %s here", id)
}

// Publication is a list of keys that somebody signed, on its way to the hosts.
type Publication struct {
	List trust.SignedList
	// Root is the root key that signed it; needed as long as the server does
	// not know that one.
	Root *trust.PublicKey
	// TrustRoot has Root known from now on, though others are known already.
	TrustRoot bool
	// Force has a list taken that does not name the server's own key.
	Force bool
}

// WithList has a list published, and the newest of the server's own keys that it
// names sign.
func (r Ring) WithList(p Publication, now time.Time) (Ring, error) {
	l, err := readStrictly(p.List)
	if err != nil {
		return r, err
	}
	if r.Roots, err = r.rootsFor(p); err != nil {
		return r, err
	}
	if _, err := p.List.Verify(r.Roots); err != nil {
		return r, invalid("sign it again: ops-meta key bump --root KEYFILE", "the list of keys cannot be verified: %v", err)
	}
	if r.List != nil && *r.List == p.List {
		return r, nil
	}
	if at := r.Keys().Epoch; l.Epoch <= at {
		return r, conflict("make a list of a higher epoch: ops-meta key bump --root KEYFILE",
			"the list is of epoch %d, and one of epoch %d was published: epochs never go back", l.Epoch, at)
	}
	signs := r.newestNamed(l.Of(trust.UseServer, now))
	if signs == "" && len(r.Own) > 0 && !p.Force {
		return r, conflict("add it: ops-meta key rotate --root KEYFILE; or publish the list all the same with --force",
			"the list names none of this server's keys (%s): hosts that verify replies would refuse all of them", strings.Join(r.ownIDs(), ", "))
	}
	r.List = &p.List
	if signs != "" {
		r.Signs = signs
		r = r.withoutUnused()
	}
	return r, nil
}

// rootsFor are the root keys that may have signed a publication.
func (r Ring) rootsFor(p Publication) (trust.Keys, error) {
	if p.Root == nil {
		if len(r.Roots) == 0 {
			return nil, invalid("say which: --root KEYFILE or --root-key PUB", "this server knows no root key yet, and the list comes without the one that signed it")
		}
		return r.Roots, nil
	}
	if known, is := r.Roots.Find(p.Root.ID()); is {
		if known != *p.Root {
			return nil, invalid("", "root key %s is another one than the server knows by that id", p.Root.ID())
		}
		return r.Roots, nil
	}
	if len(r.Roots) > 0 && !p.TrustRoot {
		return nil, conflict("if it is yours, say so with --trust-root; hosts go by the root keys of their own cfg.json",
			"the list is signed with root key %s, and this server knows %s", p.Root.ID(), strings.Join(r.Roots.IDs(), ", "))
	}
	return append(slices.Clone(r.Roots), *p.Root), nil
}

// readStrictly refuses what this server would pass on without knowing what it says.
func readStrictly(s trust.SignedList) (trust.KeyList, error) {
	l, err := s.Read()
	if err != nil {
		return l, invalid("", "%v", err)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s.List)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, invalid("is it of a newer ops-meta?", "the list of keys is not as this server knows them: %v", err)
	}
	return l, nil
}

// newestNamed is the newest of the server's own keys among keys, or empty.
func (r Ring) newestNamed(keys trust.Keys) string {
	for _, o := range slices.Backward(r.Own) {
		if _, is := keys.Find(o.ID()); is {
			return o.ID()
		}
	}
	return ""
}

// withoutUnused throws the private parts of keys away that came before the one that signs.
func (r Ring) withoutUnused() Ring {
	if i := slices.IndexFunc(r.Own, func(o Own) bool { return o.ID() == r.Signs }); i > 0 {
		r.Own = slices.Clone(r.Own[i:])
	}
	return r
}

func (r Ring) ownIDs() (ids []string) {
	for _, o := range r.Own {
		ids = append(ids, o.ID())
	}
	return ids
}

func names(l trust.KeyList, id string) bool {
	return slices.ContainsFunc(l.Keys, func(k trust.Key) bool { return k.Key.ID() == id })
}

// AsRefusal is the refusal in err's chain, or nil.
func AsRefusal(err error) *Refusal {
	r, _ := errors.AsType[*Refusal](err)
	return r
}
