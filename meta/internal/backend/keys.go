package backend

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/keyring"
	"github.com/ops-updater/ops-updater/meta/internal/store"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// keys joins the server's keys to the API.
type keys struct{ *core }

// signingOf is how replies are signed with a ring.
func (c *core) signingOf(r keyring.Ring) fleet.Signing {
	list := r.Keys()
	s := fleet.Signing{Epoch: list.Epoch, List: r.List, Listed: list, Root: r.SignedBy(), Lifetime: time.Duration(c.settings.Load().DesiredLifetime) * time.Second}
	if k, signs := r.Signer(); signs {
		s.Key = &k
	}
	return s
}

// Keys says whom hosts can believe.
func (k keys) Keys(context.Context) (api.KeyReport, error) {
	ring, now := *k.ring.Load(), time.Now()
	list := ring.Keys()
	report := api.KeyReport{
		Own: []api.OwnKey{}, Roots: []api.KeyID{}, Keys: []api.ListedKey{}, Epoch: list.Epoch, SignedBy: ring.SignedBy(), List: ring.List,
		Lifetime: int(k.fleet.Snapshot().SignedLifetime() / time.Second), Hosts: k.keyHosts(),
	}
	if ring.List != nil {
		report.Issued = &list.Issued
	}
	for _, o := range ring.Own {
		own, err := ownKey(ring, o)
		if err != nil {
			return report, err
		}
		report.Own = append(report.Own, own)
	}
	for _, r := range ring.Roots {
		report.Roots = append(report.Roots, keyID(r))
	}
	for _, l := range list.Keys {
		listed := api.ListedKey{KeyID: keyID(l.Key), Use: l.Use, Name: l.Name}
		if !l.NotAfter.IsZero() {
			listed.NotAfter, listed.Expired = &l.NotAfter, !now.Before(l.NotAfter)
		}
		report.Keys = append(report.Keys, listed)
	}
	return report, nil
}

func keyID(k trust.PublicKey) api.KeyID { return api.KeyID{ID: k.ID(), Key: k.String()} }

func ownKey(r keyring.Ring, o keyring.Own) (api.OwnKey, error) {
	private, err := o.Key()
	if err != nil {
		return api.OwnKey{}, fmt.Errorf("cannot read a key of the server's own: %w", err)
	}
	id := private.Public().ID()
	_, listed := r.Keys().Of(trust.UseServer, time.Now()).Find(id)
	return api.OwnKey{KeyID: keyID(private.Public()), CreatedAt: o.Created, Signs: id == r.Signs, Listed: listed}, nil
}

func (k keys) keyHosts() api.KeyHosts {
	o := k.fleet.Overview()
	h := api.KeyHosts{Modes: o.Trust, Epochs: map[string]int{}, Refusing: map[string]int{}}
	k.fleet.EachTrust(func(t fleet.TrustOf) {
		h.Epochs[strconv.FormatInt(t.Epoch, 10)]++
		h.Highest = max(h.Highest, t.Epoch)
		if t.Reason != "" {
			h.Refusing[t.Reason]++
		}
	})
	return h
}

// changeKeys makes one change of the keys.
func (k keys) changeKeys(ctx context.Context, by api.Actor, change func(keyring.Ring) (keyring.Ring, store.KeyringChange, error)) error {
	return k.write(ctx, by, func(tx *store.Tx) error {
		before, err := tx.Keyring(ctx)
		if err != nil {
			return err
		}
		after, what, err := change(before)
		if r := keyring.AsRefusal(err); r != nil {
			e := &api.Error{Kind: api.KindInvalid, Message: r.Text, Hint: r.Hint}
			if r.Conflict {
				e.Kind = api.KindConflict
			}
			return e
		}
		if err != nil || what == (store.KeyringChange{}) {
			return err
		}
		return tx.PutKeyring(ctx, after, what)
	})
}

// MakeServerKey makes a key for the server: the first one signs at once, a later one
// waits until it is told to, or until a list of keys names it.
func (k keys) MakeServerKey(ctx context.Context, by api.Actor) (api.OwnKey, error) {
	var made api.OwnKey
	err := k.changeKeys(ctx, by, func(r keyring.Ring) (keyring.Ring, store.KeyringChange, error) {
		next, key, err := r.WithNewKey(time.Now())
		if err != nil {
			return r, store.KeyringChange{}, err
		}
		made, err = ownKey(next, next.Own[len(next.Own)-1])
		if err != nil || len(next.Own) == len(r.Own) { // it waited already
			return r, store.KeyringChange{}, err
		}
		return next, store.KeyringChange{Action: "create", Key: key.ID(), After: keyID(key)}, nil
	})
	return made, err
}

// RotateServerKey has the key that waits sign.
func (k keys) RotateServerKey(ctx context.Context, by api.Actor) error {
	return k.changeKeys(ctx, by, func(r keyring.Ring) (keyring.Ring, store.KeyringChange, error) {
		next, err := r.WithNextSigning()
		return next, store.KeyringChange{Action: "rotate", Key: next.Signs, After: map[string]string{"before": r.Signs}}, err
	})
}

// PublishKeyList has a list of keys passed on to hosts.
func (k keys) PublishKeyList(ctx context.Context, by api.Actor, p api.PublishKeyList) error {
	publication := keyring.Publication{List: p.List, TrustRoot: p.TrustRoot, Force: p.Force}
	if p.Root != "" {
		root, err := trust.ParsePublicKey(p.Root)
		if err != nil {
			return api.InvalidField("root", "%v", err)
		}
		publication.Root = &root
	}
	return k.changeKeys(ctx, by, func(r keyring.Ring) (keyring.Ring, store.KeyringChange, error) {
		next, err := r.WithList(publication, time.Now())
		if err != nil || r.List != nil && *r.List == p.List {
			return r, store.KeyringChange{}, err
		}
		l := next.Keys()
		after := map[string]any{"epoch": l.Epoch, "signedBy": next.SignedBy(), "signs": next.Signs, "release": l.Of(trust.UseRelease, time.Now()).IDs(), "server": l.Of(trust.UseServer, time.Now()).IDs()}
		return next, store.KeyringChange{Action: "publish", Key: "list", After: after}, nil
	})
}

// DeleteKey forgets a key of the server's own that does not sign, or a root key.
func (k keys) DeleteKey(ctx context.Context, by api.Actor, id string) error {
	return k.changeKeys(ctx, by, func(r keyring.Ring) (keyring.Ring, store.KeyringChange, error) {
		next, err := r.Without(id)
		return next, store.KeyringChange{Action: "delete", Key: id}, err
	})
}

// CheckKeys says whether hosts that verify can believe what they are told.
func (c *core) CheckKeys() []api.Check {
	ring, now := *c.ring.Load(), time.Now()
	signer, signs := ring.Signer()
	list := ring.Keys()
	w := keyWorries{refusing: map[string]int{}}
	c.fleet.EachTrust(func(t fleet.TrustOf) { w.add(t, ring) })
	_, named := list.Of(trust.UseServer, now).Find(signer.Public().ID())
	var found []api.Check
	warn := func(hint, format string, args ...any) {
		found = append(found, api.Checkf("trust", api.CheckWarning, hint, format, args...))
	}
	if !signs && w.verifyReplies > 0 {
		warn("make it: ops-meta key new --use server", "%d hosts verify replies, and this server has no key to sign them with", w.verifyReplies)
	}
	if signs && ring.List != nil && !named {
		warn("add it: ops-meta key rotate --root KEYFILE", "the list of keys of epoch %d does not name this server's key %s: hosts that go by the list refuse its replies", list.Epoch, signer.Public().ID())
	}
	if w.ahead > 0 {
		warn("ops-meta key bump --root KEYFILE makes a list of a higher epoch; look first whether it names what was revoked since", "%d hosts have heard a list of keys of epoch %d, this server's is of epoch %d: was it restored from a backup?", w.ahead, w.highest, list.Epoch)
	}
	if w.otherRoots > 0 {
		warn("name the root key in trust.root_keys of their cfg.json, or sign the list with one that they have", "%d hosts have root keys, and none of them is %s, with which the list of keys was signed", w.otherRoots, ring.SignedBy())
	}
	for release, n := range c.refusedReleases() {
		warn("sign it: ops-meta releases sign AGENT VERSION --sign KEYFILE", "%d hosts require a signature that %s does not have, and refuse it", n, release)
	}
	for reason, n := range w.refusing {
		warn("ops-meta hosts --trust refusing names them; what the code says is in docs/OPERATING.md", "%d hosts do not believe this server's replies: %s", n, reason)
	}
	for _, l := range list.Keys {
		if !l.NotAfter.IsZero() && l.NotAfter.Before(now.Add(keyEndsSoon)) {
			warn("ops-meta key list shows until when keys count", "%s key %s counts until %s only", l.Use, l.Key.ID(), l.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if found == nil {
		detail := "no host verifies what it is told"
		if w.verify > 0 {
			detail = fmt.Sprintf("%d hosts verify, and believe this server", w.verify)
		}
		found = append(found, api.Checkf("trust", api.CheckOK, "", "%s", detail))
	}
	return found
}

// refusedReleases counts, by release, the hosts that are told a release which they
// refuse for want of a signature.
func (c *core) refusedReleases() map[string]int {
	trusts := map[string]fleet.TrustOf{}
	c.fleet.EachTrust(func(t fleet.TrustOf) {
		if t.Releases == meta.TrustRequire {
			trusts[t.Facts.Name] = t
		}
	})
	refused := map[string]int{}
	if len(trusts) == 0 {
		return refused
	}
	c.fleet.EachTold(c.fleet.Snapshot(), func(told fleet.Told) {
		t, requires := trusts[told.Host]
		if !requires || told.Cmd != meta.CmdStart || told.Agent.Version == told.Version {
			return
		}
		a, known := c.Artifact(api.ReleaseKey{Agent: told.Wanted.Agent, Version: told.Version, Arch: t.Facts.Arch})
		if known && t.Refuses(a) {
			refused[told.Wanted.Agent+" "+told.Version]++
		}
	})
	return refused
}

// keyEndsSoon is how long before a key's end it is told.
const keyEndsSoon = 14 * 24 * time.Hour

// keyWorries counts what is wrong with the trust of hosts.
type keyWorries struct {
	verify, verifyReplies, ahead, otherRoots int
	highest                                  int64
	refusing                                 map[string]int
}

func (w *keyWorries) add(t fleet.TrustOf, ring keyring.Ring) {
	w.verify++
	if t.Desired == meta.TrustWarn || t.Desired == meta.TrustRequire {
		w.verifyReplies++
	}
	if t.Epoch > ring.Keys().Epoch && len(t.Roots) > 0 {
		w.ahead++
		w.highest = max(w.highest, t.Epoch)
	}
	if ring.List != nil && len(t.Roots) > 0 && !t.HasRoot(ring.SignedBy()) {
		w.otherRoots++
	}
	if t.Reason != "" {
		w.refusing[t.Reason]++
	}
}
