package keyring_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/keyring"
	"github.com/ops-updater/ops-updater/meta/trust"
)

var now = time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)

func newKey(t *testing.T) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// withKeys is a ring with so many keys made one after the other.
func withKeys(t *testing.T, n int) (r keyring.Ring, keys []trust.PublicKey) {
	t.Helper()
	for range n {
		next, key, err := r.WithNewKey(now)
		if err != nil {
			t.Fatal(err)
		}
		r, keys = next, append(keys, key)
	}
	return r, keys
}

func listOf(t *testing.T, root trust.PrivateKey, epoch int64, servers ...trust.PublicKey) trust.SignedList {
	t.Helper()
	l := trust.KeyList{Epoch: epoch, Issued: now}
	for _, k := range servers {
		l.Keys = append(l.Keys, trust.Key{Key: k, Use: trust.UseServer})
	}
	s, err := root.SignList(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func public(k trust.PrivateKey) *trust.PublicKey {
	p := k.Public()
	return &p
}

func TestAKeyTakesTheOtherPlace(t *testing.T) {
	r, keys := withKeys(t, 3)
	if len(r.Own) != 2 || keys[1] != keys[2] || r.Signs != keys[0].ID() {
		t.Fatalf("%d keys, %s signs", len(r.Own), r.Signs)
	}
	r, err := r.WithNextSigning()
	if err != nil || r.Signs != keys[1].ID() || len(r.Own) != 1 {
		t.Fatalf("%s signs, %d keys are kept: %v", r.Signs, len(r.Own), err)
	}
	if k, signs := r.Signer(); !signs || k.Public() != keys[1] {
		t.Error("the key that signs cannot be had")
	}
	if _, err := r.WithNextSigning(); err == nil {
		t.Error("a key that is not there took the place")
	}
	if _, err := r.Without(r.Signs); err == nil {
		t.Error("the key that signs was forgotten")
	}
}

func TestAListDecidesWhichKeySigns(t *testing.T) {
	root := newKey(t)
	r, keys := withKeys(t, 2)
	r, err := r.WithList(keyring.Publication{List: listOf(t, root, 1, keys[0]), Root: public(root)}, now)
	if err != nil || r.Signs != keys[0].ID() || len(r.Own) != 2 || r.Keys().Epoch != 1 || r.SignedBy() != root.Public().ID() {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := r.WithNextSigning(); err == nil || !strings.Contains(err.Error(), keys[1].ID()) {
		t.Errorf("a key that the list does not name took the place: %v", err)
	}
	if r, err = r.WithList(keyring.Publication{List: listOf(t, root, 2, keys[0], keys[1])}, now); err != nil || r.Signs != keys[1].ID() || len(r.Own) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	same, err := r.WithList(keyring.Publication{List: *r.List}, now)
	if err != nil || same.Keys().Epoch != 2 {
		t.Errorf("the same again: %v", err)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	root, other := newKey(t), newKey(t)
	fresh, keys := withKeys(t, 1)
	r, err := fresh.WithList(keyring.Publication{List: listOf(t, root, 5, keys[0]), Root: public(root)}, now)
	if err != nil {
		t.Fatal(err)
	}
	unknown := signRaw(t, root, `{"epoch":6,"issued":"2026-11-27T03:00:00Z","keys":[],"revoked":[]}`, 6)
	for name, c := range map[string]struct {
		ring keyring.Ring
		p    keyring.Publication
		want string
	}{
		"an older epoch":           {r, keyring.Publication{List: listOf(t, root, 4, keys[0])}, "never go back"},
		"another of the epoch":     {r, keyring.Publication{List: listOf(t, root, 5, keys[0], newKey(t).Public())}, "never go back"},
		"without our key":          {r, keyring.Publication{List: listOf(t, root, 6, newKey(t).Public())}, keys[0].ID()},
		"an unknown root":          {r, keyring.Publication{List: listOf(t, other, 6, keys[0])}, "verified"},
		"another root":             {r, keyring.Publication{List: listOf(t, other, 6, keys[0]), Root: public(other)}, other.Public().ID()},
		"no root at the beginning": {fresh, keyring.Publication{List: listOf(t, root, 6, keys[0])}, "no root key"},
		"signed by another":        {fresh, keyring.Publication{List: listOf(t, root, 6, keys[0]), Root: public(other)}, "verified"},
		"unknown fields":           {r, keyring.Publication{List: unknown, Force: true}, "revoked"},
		"none":                     {r, keyring.Publication{List: trust.SignedList{List: "[]"}}, "list"},
	} {
		after, err := c.ring.WithList(c.p, now)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && keyring.AsRefusal(err) == nil {
			t.Errorf("%s: %T has no hint", name, err)
		}
		_ = after
	}
	if forced, err := r.WithList(keyring.Publication{List: listOf(t, root, 6, newKey(t).Public()), Force: true}, now); err != nil || forced.Signs != keys[0].ID() {
		t.Errorf("with force: %v", err)
	}
	trusted, err := r.WithList(keyring.Publication{List: listOf(t, other, 6, keys[0]), Root: public(other), TrustRoot: true}, now)
	if err != nil || len(trusted.Roots) != 2 {
		t.Fatalf("another root that is trusted: %v", err)
	}
	if trusted, err = trusted.Without(root.Public().ID()); err != nil || len(trusted.Roots) != 1 {
		t.Errorf("the old root stays: %v", err)
	}
}

// signRaw signs bytes that the package itself would not make.
func signRaw(t *testing.T, k trust.PrivateKey, list string, epoch int64) trust.SignedList {
	t.Helper()
	if !json.Valid([]byte(list)) {
		t.Fatal("no JSON")
	}
	return trust.SignedList{List: list, Signature: string(k.Sign([]byte(list), trust.List(epoch)))}
}

func TestARingIsKeptAsJSON(t *testing.T) {
	root := newKey(t)
	r, keys := withKeys(t, 2)
	r, err := r.WithList(keyring.Publication{List: listOf(t, root, 1, keys[0]), Root: public(root)}, now)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again keyring.Ring
	if err := json.Unmarshal(doc, &again); err != nil {
		t.Fatal(err)
	}
	k, signs := again.Signer()
	if next, waits := again.Next(); !signs || k.Public() != keys[0] || !waits || next != keys[1] || again.Keys().Epoch != 1 || len(again.Roots) != 1 {
		t.Errorf("%s", doc)
	}
}
