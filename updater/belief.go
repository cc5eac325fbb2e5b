package updater

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
)

// heardName is the file of what must not be forgotten of the server's replies.
const heardName = "trust.json"

// belief is whom this host believes: what the configuration says, and what was
// heard since. It is kept on disk before a reply is acted on.
type belief struct {
	path string
	log  zerolog.Logger
	// changed, unless nil, is told when other release keys count than before.
	changed func()

	mu      sync.Mutex
	trust   config.Trust
	heard   trust.Heard
	counts  trust.Counting // by trust and heard: the list's signature is verified when they change
	expires time.Time      // of the reply that was believed last in this process
	refused error          // why the last reply was not believed, or nil
	since   time.Time      // since when none has been believed, or zero
}

// openBelief reads what was heard. The error says that it is lost; the belief
// begins anew then, with the keys of the configuration.
func openBelief(c config.Config, access stateAccess, log zerolog.Logger) (*belief, error) {
	b := &belief{path: filepath.Join(c.VarDir, heardName), log: log, trust: c.Trust}
	err := loadJSON(b.path, access, &b.heard)
	b.counts = b.heard.Counting(b.trust.Anchors)
	return b, err
}

// useConfig makes t what is verified from now on.
func (b *belief) useConfig(t config.Trust) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellChange(func() { b.trust = t })
}

// tellChange does what may change which release keys count; b.mu is held.
func (b *belief) tellChange(do func()) {
	keys := func() []string { return b.counts.Keys(trust.UseRelease, time.Now()).IDs() }
	before := keys()
	do()
	b.counts = b.heard.Counting(b.trust.Anchors)
	if b.changed != nil && !slices.Equal(before, keys()) {
		b.changed()
	}
}

// lendKeys has an engine verify releases with the keys that count.
func (b *belief) lendKeys(e EngineConfig) EngineConfig {
	e.ReleaseKeys = b.releaseKeys
	return e
}

// believe is [meta.ClientConfig.Believe].
func (b *belief) believe(body []byte, signature string, said trust.Statement, host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.verifies() {
		b.hearList(said.List)
		return nil
	}
	now := time.Now()
	next, refused := b.heard.Judge(b.trust.Anchors, body, signature, said, host, now)
	if err := b.keep(next); err != nil && refused == nil {
		refused = err
	}
	b.note(refused, said.Expires, now)
	if b.trust.Desired == meta.TrustRequire {
		return refused
	}
	return nil
}

func (b *belief) verifies() bool {
	return b.trust.Desired == meta.TrustRequire || b.trust.Desired == meta.TrustWarn
}

// hearList takes over a list of keys from a reply that nobody verifies: a root key
// signed it. Without it a host that verifies releases alone would never hear of
// new keys.
func (b *belief) hearList(list *trust.SignedList) {
	if !b.trust.Any() {
		return
	}
	next, err := b.heard.Hear(b.trust.Anchors, list)
	if err != nil {
		b.log.Error().Err(err).Str("reason", string(trust.CodeOf(err))).Msg("a list of keys cannot be verified, the old one stays")
		return
	}
	_ = b.keep(next) // said in the log, and heard again with the next reply
}

// keep makes next what was heard, once it is on disk.
func (b *belief) keep(next trust.Heard) error {
	if next == b.heard {
		return nil
	}
	if err := saveJSON(b.path, next); err != nil {
		err = fmt.Errorf("what must not be forgotten of it could not be kept: %w", err)
		b.log.Error().Err(err).Msg("a reply is not believed before it was noted")
		return err
	}
	if next.Epoch != b.heard.Epoch {
		b.log.Info().Int64("epoch", next.Epoch).Int64("before", b.heard.Epoch).Msg("a new list of keys was heard")
	}
	b.tellChange(func() { b.heard = next })
	return nil
}

// note keeps what came of a reply, and says in the log what is new of it.
func (b *belief) note(refused error, expires, now time.Time) {
	if refused == nil {
		if b.refused != nil {
			b.log.Info().Msg("the server's replies are believed again")
		}
		b.refused, b.since, b.expires = nil, time.Time{}, expires
		return
	}
	if b.refused == nil || trust.CodeOf(refused) != trust.CodeOf(b.refused) {
		b.log.Error().Err(refused).Str("reason", string(trust.CodeOf(refused))).Str("mode", string(b.trust.Desired)).Msg("a reply of the server cannot be verified")
	}
	if b.refused == nil {
		b.since = now
	}
	b.refused = refused
}

// unchanged judges an answer that says that the last reply still holds. Nobody signs
// that, so it holds for no longer than the reply said.
func (b *belief) unchanged() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.verifies() || b.expires.IsZero() || now.Before(b.expires) {
		return nil
	}
	b.note(&trust.Refusal{Code: trust.Expired, Text: fmt.Sprintf("it says that nothing changed, and what it said before expired at %s", b.expires.UTC().Format(time.RFC3339))}, time.Time{}, now)
	if b.trust.Desired == meta.TrustRequire {
		return b.refused
	}
	return nil
}

// releaseKeys are the keys that may sign releases and remote configurations now.
func (b *belief) releaseKeys() trust.Keys {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts.Keys(trust.UseRelease, time.Now())
}

// report is what the heartbeat says; nil on a host that verifies nothing.
func (b *belief) report() *meta.TrustReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.trust.Any() {
		return nil
	}
	now := time.Now()
	r := &meta.TrustReport{
		Releases: b.trust.Releases, Configs: b.trust.Configs, Desired: b.trust.Desired, Epoch: b.heard.Epoch,
		Keys:    b.counts.Keys(trust.UseRelease, now).IDs(),
		Servers: b.counts.Keys(trust.UseServer, now).IDs(),
		Roots:   b.trust.Anchors.Roots.IDs(),
	}
	if b.refused != nil {
		r.Refused, r.Reason, r.Since = b.refused.Error(), string(trust.CodeOf(b.refused)), b.since.Unix()
	}
	return r
}

// state is what `status` says; nil on a host that verifies nothing.
func (b *belief) state() *local.Trust {
	r := b.report()
	if r == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return &local.Trust{TrustReport: *r, Serial: b.heard.Serial, Expires: b.expires, Stale: b.since}
}

// StoredTrust is what this host verifies and heard, without a running sidecar.
func StoredTrust(c config.Config) (*local.Trust, error) {
	b, err := openBelief(c, readState, zerolog.Nop())
	return b.state(), err
}

// ForgetHeard forgets the highest serial and the list of keys that this host
// heard: it begins anew with the keys of its configuration. No sidecar may run
// ([ErrRunning]).
func ForgetHeard(c config.Config) (trust.Heard, error) {
	lock, err := lockVar(c.VarDir, nil)
	if err != nil {
		return trust.Heard{}, err
	}
	defer lock.release()
	b, err := openBelief(c, ownState, zerolog.Nop())
	if err != nil { // it was set aside, so it is forgotten
		return trust.Heard{}, nil
	}
	return b.heard, saveJSON(b.path, trust.Heard{})
}

// checkTrust tells what is verified and whether replies are believed.
func checkTrust(ctx context.Context, c config.Config) []Finding {
	if !c.Trust.Any() {
		return nil
	}
	t, err := StoredTrust(c)
	f := Finding{Name: "trust", Verdict: VerdictOK, Detail: TrustInWords(t.TrustReport)}
	switch {
	case err != nil:
		f.Verdict, f.Detail = VerdictWarn, fmt.Sprintf("%s; what was heard of the server is lost: %v", f.Detail, err)
		f.Mend = "the sidecar begins anew with the keys of " + filepath.Base(c.Path)
	case len(t.Keys) > 0 || t.Releases != meta.TrustRequire && t.Configs != meta.TrustRequire:
	case t.Epoch == 0:
		f.Detail += "; the list of keys comes with the server's replies"
	default:
		f.Verdict, f.Detail = VerdictWarn, f.Detail+"; no release key counts, so nothing that has to be signed with one is accepted"
		f.Mend = "have the list of keys name one: ops-meta key list, ops-meta key add"
	}
	return append([]Finding{f}, checkBelieved(ctx, c)...)
}

// checkBelieved asks the sidecar that runs, if any, whether it believes the server's replies.
func checkBelieved(ctx context.Context, c config.Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	s, err := local.NewClient(c.VarDir).Status(ctx)
	if err != nil || s.Trust == nil || s.Trust.Refused == "" {
		return nil
	}
	effect := "are refused"
	if s.Trust.Desired != meta.TrustRequire {
		effect = "would be refused if trust.desired were require"
	}
	return []Finding{{
		Name: "trust", Verdict: VerdictWarn, Detail: fmt.Sprintf("the server's replies %s since %s: %s [%s]", effect, s.Trust.Stale.Local().Format(time.DateTime), s.Trust.Refused, s.Trust.Reason),
		Mend: "docs/TRUST.md says what each code is about; on the server: ops-meta doctor",
	}}
}

// TrustInWords says what is verified with which keys.
func TrustInWords(r meta.TrustReport) string {
	says := fmt.Sprintf("releases %s, configs %s (%s); replies %s (%s)", r.Releases, r.Configs, keysInWords(r.Keys), r.Desired, keysInWords(r.Servers))
	if r.Epoch > 0 {
		says += fmt.Sprintf("; list of keys of epoch %d", r.Epoch)
	}
	return says
}

func keysInWords(ids []string) string {
	switch len(ids) {
	case 0:
		return "no key"
	case 1:
		return "key " + ids[0]
	}
	return "keys " + strings.Join(ids, ", ")
}
