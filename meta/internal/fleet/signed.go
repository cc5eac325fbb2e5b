package fleet

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Signing is how replies are signed. The zero value signs none.
//
// Only a host that says that it verifies replies gets signed ones: they are made for
// it alone, and a signature that nobody looks at protects nobody. Whoever
// takes the report of that out on the way gets an unsigned reply, which the host
// refuses, as it would one that was tampered with.
type Signing struct {
	Key      *trust.PrivateKey // nil: nothing is signed
	Epoch    int64             // of List
	List     *trust.SignedList // for hosts that have not heard it yet; nil: none
	Root     string            // id of the root key that signed List
	Listed   trust.KeyList     // what List says
	Lifetime time.Duration     // of a signed reply
	tag      string            // of all that makes a signature another one
}

// DefaultLifetime is that of a signed reply, unless it is set.
const DefaultLifetime = 24 * time.Hour

func (s Signing) withTag() Signing {
	if s.Lifetime <= 0 {
		s.Lifetime = DefaultLifetime
	}
	if s.Key != nil {
		what := s.Key.Public().ID() + strconv.FormatInt(s.Epoch, 10) + s.Lifetime.String()
		s.tag = strconv.FormatUint(xxhash.Sum64String(what), 36)
	}
	return s
}

// terms are what goes into a reply for one host alone.
type terms struct {
	signing *Signing
	host    string
	serial  int64 // of a reply that has none
	sign    bool
	list    bool
}

// trustFacts is what a host says that it verifies; many say the same.
type trustFacts struct {
	releases, configs, desired meta.TrustMode
	keys, servers, roots       string // ids, with spaces between them
	epoch                      int64
}

func trustFactsOf(r *meta.TrustReport) trustFacts {
	if r == nil {
		return trustFacts{}
	}
	return trustFacts{
		releases: r.Releases, configs: r.Configs, desired: r.Desired, epoch: r.Epoch,
		keys: strings.Join(r.Keys, " "), servers: strings.Join(r.Servers, " "), roots: strings.Join(r.Roots, " "),
	}
}

func (t trustFacts) report() *meta.TrustReport {
	if t == (trustFacts{}) {
		return nil
	}
	return &meta.TrustReport{
		Releases: t.releases, Configs: t.configs, Desired: t.desired, Epoch: t.epoch,
		Keys: strings.Fields(t.keys), Servers: strings.Fields(t.servers), Roots: strings.Fields(t.roots),
	}
}

// strictest is the mode of the part that is taken most seriously.
func (t trustFacts) strictest() meta.TrustMode {
	return meta.TrustReport{Releases: t.releases, Configs: t.configs, Desired: t.desired}.Strictest()
}

// inWords says what a host verifies; empty for one that says nothing.
func (t trustFacts) inWords() string {
	if r := t.report(); r != nil {
		return r.InWords()
	}
	return ""
}

// signer is how the replies of one snapshot are signed, and the snapshot's serial. Each reply
// has its own: signed in a later epoch than its serial is of, it would have its host refuse
// another server, which has come as far as that serial and no further.
type signer struct {
	Signing
	serial int64
}

// termsFor are those of a host that says that it verifies t; nil when it gets the
// reply that others get.
func (s *signer) termsFor(host string, t trustFacts) *terms {
	w := terms{
		signing: &s.Signing, host: host, serial: s.serial,
		sign: s.Key != nil && (t.desired == meta.TrustWarn || t.desired == meta.TrustRequire),
		list: s.List != nil && t.epoch < s.Epoch && slices.Contains(strings.Fields(t.roots), s.Root),
	}
	if !w.sign && !w.list {
		return nil
	}
	return &w
}

// onTerms is the reply as one host gets it.
func (r *Reply) onTerms(t *terms) *Reply {
	if t == nil {
		return r
	}
	own := *r
	own.terms, own.Gzip, own.LengthHeader = t, nil, nil // of other bytes
	own.ETag, own.ETagHeader = "", nil
	if !t.list {
		own.ETag = t.tagAt(r.ETag, time.Now())
		own.ETagHeader = []string{own.ETag}
	}
	return &own
}

// tagAt is the entity tag of a signed reply. It changes before half of the
// lifetime has passed since any signature under it, since a host takes an answer of
// 304 for no longer than the signed reply said. When that is differs from host
// to host: they would all come for a new one at once.
//
// A reply with a list of keys has none: until its host says that it has
// the list, it gets it again.
func (t *terms) tagAt(base string, now time.Time) string {
	half := max(int64(t.signing.Lifetime/time.Second)/2, 1)
	window := (now.Unix() + int64(xxhash.Sum64String(t.host)>>1)%half) / half
	return strings.TrimSuffix(base, `"`) + "-" + t.signing.tag + "-" + strconv.FormatInt(window, 36) + `"`
}

// IsPersonal reports whether the reply is for one host alone: its bytes are those
// of [Reply.Personal].
func (r *Reply) IsPersonal() bool { return r.terms != nil }

// Personal are the exact bytes for the one host that the reply is for, and what
// the header [trust.ReplyHeader] says of them; empty for a reply that is not signed.
func (r *Reply) Personal(now time.Time) (body []byte, signature string) {
	t := r.terms
	body = append(make([]byte, 0, len(r.Body)+256), strings.TrimSuffix(string(r.Body), "}\n")...)
	field := func(name string, value any) {
		body = append(append(body, `,"`+name+`":`...), bytes.TrimSuffix(encodeJSON(value), []byte("\n"))...)
	}
	if t.sign {
		if r.doubt {
			field("serial", t.serial)
		}
		field("host", t.host)
		if t.signing.Epoch > 0 {
			field("epoch", t.signing.Epoch)
		}
		field("expires", now.Add(t.signing.Lifetime).Unix())
	}
	if t.list {
		field("keyList", t.signing.List)
	}
	body = append(body, "}\n"...)
	if !t.sign {
		return body, ""
	}
	return body, trust.EncodeHeader(t.signing.Key.Sign(body, trust.Reply()))
}

// SignedLifetime is how long a signed reply counts.
func (s *Snapshot) SignedLifetime() time.Duration { return s.cfg.Signing.Lifetime }

// TrustOf is what a host verifies.
type TrustOf struct {
	Facts Facts
	meta.TrustReport
	// Counting are the ids of the release keys that count there when it acts on this
	// server's next reply, which may bring another list of keys.
	Counting []string
}

// HasRoot reports whether the host has that root key.
func (t TrustOf) HasRoot(id string) bool { return slices.Contains(t.Roots, id) }

// Doubts is why the host cannot verify a release, by its artifact for the host's arch: it
// refuses it where releases have to be verified. Empty when it can, when it verifies none,
// or when nobody here knows: the signature of what is hosted elsewhere may lie there.
func (t TrustOf) Doubts(a api.Artifact) trust.Code {
	switch {
	case t.Releases != meta.TrustWarn && t.Releases != meta.TrustRequire, slices.Contains(t.Counting, a.SignedBy):
		return ""
	case len(t.Counting) == 0:
		return trust.NoKeys
	case a.SignedBy != "":
		return trust.UnknownKey
	case a.External != "":
		return ""
	}
	return trust.Unsigned
}

// AdviseSigning says what makes hosts take a release that they refuse for want of a
// signature. One that a key has signed which does not count there may be somebody else's:
// nobody is told to sign that without having looked.
func AdviseSigning(agent, version string, artifacts ...api.Artifact) string {
	sign := fmt.Sprintf("ops-meta releases sign %s %s --sign KEYFILE", agent, version)
	var signers []string
	for _, a := range artifacts {
		if a.SignedBy != "" && !slices.Contains(signers, a.SignedBy) {
			signers = append(signers, a.SignedBy)
		}
	}
	if len(signers) == 0 {
		return "sign it: " + sign
	}
	return fmt.Sprintf("find out who signed it with %s; if it is yours, sign it with a key that counts: %s, or have the list of keys name that one: ops-meta key add", strings.Join(signers, " and "), sign)
}

// Refuses reports whether the host does not install a release, by its artifact for the
// host's arch, because it cannot verify it.
func (t TrustOf) Refuses(a api.Artifact) bool {
	return t.Releases == meta.TrustRequire && t.Doubts(a) != ""
}

// Trust is what a host verifies; false when it does not say that it verifies anything.
func (f *Fleet) Trust(name string) (TrustOf, bool) {
	sh := f.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[name]
	if h == nil || !h.has(verifies) {
		return TrustOf{}, false
	}
	return f.trustOf(h, f.snapshot.Load())
}

// EachTrust calls do for every host that says that it verifies anything. No lock is
// held meanwhile.
func (f *Fleet) EachTrust(do func(TrustOf)) {
	var found []TrustOf
	snap := f.snapshot.Load()
	f.eachLocked(func(h *host) {
		if !h.has(verifies) {
			return
		}
		if t, says := f.trustOf(h, snap); says {
			found = append(found, t)
		}
	})
	for _, t := range found {
		do(t)
	}
}

// trustOf is what a host verifies; its shard is locked.
func (f *Fleet) trustOf(h *host, snap *Snapshot) (TrustOf, bool) {
	facts := h.facts.Value().trust
	r := h.exportTrust(facts)
	if r == nil {
		return TrustOf{}, false
	}
	t := TrustOf{Facts: f.factsOf(h), TrustReport: *r, Counting: r.Keys}
	if terms := snap.signer.termsFor(h.name, facts); terms != nil && terms.list {
		t.Counting = snap.cfg.Signing.Listed.Of(trust.UseRelease, time.Now()).IDs()
	}
	return t, true
}

// Refusing names the hosts that do not install a release, because they cannot verify it. One
// that runs it already is none of them.
func (f *Fleet) Refusing(r api.Release) map[string]bool {
	refusing := map[string]bool{}
	f.EachTrust(func(t TrustOf) {
		if a, has := r.ArtifactFor(t.Facts.Arch); has && t.Refuses(a) {
			refusing[t.Facts.Name] = true
		}
	})
	if len(refusing) == 0 {
		return nil
	}
	f.EachAgent(r.Agent, func(h Facts, on api.HostAgent) {
		if on.Version == r.Version {
			delete(refusing, h.Name)
		}
	})
	return refusing
}
