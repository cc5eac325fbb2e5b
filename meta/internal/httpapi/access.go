package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// TokenSource finds the token that has a secret; NotFound when there is none.
type TokenSource interface {
	Authenticate(ctx context.Context, secret string) (api.Token, error)
	// AuthenticateSession is the same for the session of a person.
	AuthenticateSession(ctx context.Context, secret string) (api.Session, error)
	// FirstUse notes that a host has its credential; NotFound when that is
	// void meanwhile.
	FirstUse(ctx context.Context, id string, at time.Time) error
}

// AccessConfig says how callers are told apart and held back.
type AccessConfig struct {
	Tokens         TokenSource
	OpenHeartbeats bool           // heartbeats need no credential
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	FailuresPerMin int            // wrong secrets per address and minute; 0: 30
	EnrolPerMin    int            // enrolments per address and minute; 0: 600
}

// Access tells who a request comes from and what it may do. What it found
// once it answers from memory, so that a heartbeat needs no database.
type Access struct {
	AccessConfig
	now      func() time.Time
	known    tokenCache
	failures *limiter[netip.Addr]
	enrols   *limiter[netip.Addr]
	guesses  *limiter[string] // of passwords, by the name that is tried
	used     usedTokens
}

// NewAccess returns the access rules of one server.
func NewAccess(c AccessConfig) *Access {
	return &Access{
		AccessConfig: c, now: time.Now, known: tokenCache{byHash: map[secretHash]cachedToken{}},
		failures: newLimiter(c.FailuresPerMin, 30, wholeNet), enrols: newLimiter(c.EnrolPerMin, 600, wholeNet),
		guesses: newLimiter(0, guessesPerMin, strings.ToLower),
		used:    usedTokens{at: map[string]time.Time{}},
	}
}

// How long a token is believed without asking again. Tokens that change are
// forgotten at once, see Forget; this is for changes nobody told us of.
const (
	tokenFresh = time.Minute
	hostFresh  = 12 * time.Hour
	tokenRetry = 10 * time.Second // when the database did not answer
)

// How long the database may take to say whose a token is.
const (
	askWithin   = 5 * time.Second
	doubtWithin = time.Second // of one that is known, and is only asked about again
)

// Identify returns who sent r. Its error is a 401 that says what is wrong
// with the token, or a 429.
func (a *Access) Identify(r *http.Request) (api.Identity, error) {
	from := a.Address(r)
	secret, ok := bearerToken(r)
	if !ok {
		return api.Identity{From: from.String()}, &denied{
			status: http.StatusUnauthorized, message: "a token is needed",
			hint: "give one with --token or OPS_META_TOKEN; the first is in admin.token in the server's data directory",
		}
	}
	token, err := a.lookUpToken(r.Context(), from, secret)
	if api.KindOf(err) == api.KindNotFound && api.IsSessionSecret(secret) {
		a.failures.takeOne(from)
		return api.Identity{}, &denied{status: http.StatusUnauthorized, message: "the session has ended", hint: loginHint}
	}
	if api.KindOf(err) == api.KindNotFound {
		a.failures.takeOne(from)
		return api.Identity{}, &denied{
			status: http.StatusUnauthorized, message: "the token is not known",
			hint: "it may have been removed; ask an admin for a new one: ops-meta token create NAME --role viewer",
		}
	}
	if err != nil {
		return api.Identity{}, err
	}
	if token.IsSession && !a.now().Before(*token.ExpiresAt) {
		return api.Identity{}, &denied{status: http.StatusUnauthorized, message: token.InWords() + " has ended", hint: loginHint}
	}
	if token.ExpiresAt != nil && !a.now().Before(*token.ExpiresAt) {
		return api.Identity{}, &denied{
			status: http.StatusUnauthorized, message: "the token " + token.Name + " expired at " + token.ExpiresAt.UTC().Format(time.RFC3339),
			hint: "ask an admin for a new one: ops-meta token create NAME --role " + string(token.Role),
		}
	}
	a.used.noteUse(token, a.now())
	name := token.Name
	if token.Role == api.RoleHost {
		name = token.Host
	}
	id := api.Identity{Name: name, Role: token.Role, Remits: token.Remits, TokenID: token.ID, ExpiresAt: token.ExpiresAt, From: from.String()}
	if token.IsSession {
		id.TokenID, id.SessionID, id.Provider = "", token.ID, token.Provider
	}
	return id, nil
}

const loginHint = "log in again: ops-meta login URL, or on the page"

func bearerToken(r *http.Request) (string, bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	secret = strings.TrimSpace(secret)
	return secret, strings.EqualFold(scheme, "bearer") && secret != ""
}

// lookUpToken answers from memory while that is fresh, and from what it
// remembers when the database is away. Only who may be guessing is counted.
func (a *Access) lookUpToken(ctx context.Context, from netip.Addr, secret string) (api.Token, error) {
	now, hash := a.now(), secretHash(sha256.Sum256([]byte(secret)))
	cached, ok := a.known.get(hash)
	if ok && now.Before(cached.fresh) {
		return cached.token, nil
	}
	if wait := a.failures.waitFor(from); wait > 0 && !ok {
		return api.Token{}, tooMany("too many wrong tokens from this address", wait)
	}
	asked := a.known.mark()
	token, err := a.askStore(ctx, secret, ok)
	switch {
	case err == nil:
		fresh := now.Add(tokenFresh)
		if token.Role == api.RoleHost && !isYoung(token, now) {
			fresh = now.Add(hostFresh)
		}
		a.known.put(hash, cachedToken{token, fresh}, asked)
	case ok && api.KindOf(err) == api.KindUnavailable:
		a.known.put(hash, cachedToken{cached.token, now.Add(tokenRetry)}, asked)
		return cached.token, nil
	default:
		a.known.drop(hash)
	}
	return token, err
}

// askStore looks a secret up. One that is known is not waited for long: it is
// believed while the database does not answer.
func (a *Access) askStore(ctx context.Context, secret string, known bool) (api.Token, error) {
	within := askWithin
	if known {
		within = doubtWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if api.IsSessionSecret(secret) {
		session, err := a.Tokens.AuthenticateSession(ctx, secret)
		return session.AsToken(), err
	}
	token, err := a.Tokens.Authenticate(ctx, secret)
	if err != nil || !isYoung(token, a.now()) {
		return token, err
	}
	now := a.now()
	switch err := a.Tokens.FirstUse(ctx, token.ID, now); {
	case err == nil:
		token.LastUsed = &now
	case api.KindOf(err) == api.KindNotFound:
		return api.Token{}, err
	} // what could not be noted is noted at the next use
	return token, nil
}

// isYoung reports whether a host's credential was never used and may still be
// taken for one that never reached its host.
func isYoung(t api.Token, now time.Time) bool {
	return t.Role == api.RoleHost && t.LastUsed == nil && now.Sub(t.CreatedAt) < 2*api.EnrolAgain
}

// ForgetToken forgets a token that is void, by its id or name or by its host.
func (a *Access) ForgetToken(what string) {
	a.known.forgetTokens(func(t api.Token) bool { return t.ID == what || t.Name == what || t.Host == what })
}

// DoubtCredentials makes the next use of a host's credential ask the database again, or
// of every operator's token when no host is named; while that is away they
// are believed.
func (a *Access) DoubtCredentials(host string) { a.known.doubtHost(host) }

// TakeUses returns when tokens were used since it was last asked.
func (a *Access) TakeUses() map[string]time.Time { return a.used.drain() }

// rank orders the roles that include each other.
var rank = map[api.Role]int{api.RoleViewer: 1, api.RoleOperator: 2, api.RoleAdmin: 3}

func roleAllows(have, need api.Role) bool {
	if need == api.RoleEnroll || need == api.RoleHost {
		return have == need
	}
	return rank[have] >= rank[need] && rank[have] > 0
}

// Authorize checks that the caller may use an operation.
func Authorize(id api.Identity, need api.Role) error {
	if need == "" || roleAllows(id.Role, need) {
		return nil
	}
	return &denied{
		status:  http.StatusForbidden,
		message: whose(id) + " has the role " + string(id.Role) + ", this needs " + string(need),
		hint:    "ask an admin for that role",
	}
}

// whose is the token or the person of a caller, for messages.
func whose(id api.Identity) string {
	if id.SessionID != "" {
		return id.Name
	}
	return "the token " + id.Name
}

// Sender is who sends a heartbeat, by its credential: it is asked before any
// byte of the body is read. It is nobody when heartbeats are open to anybody,
// and when a verified client certificate is still to be compared with the
// host's name, see MayReport.
func (a *Access) Sender(r *http.Request) (api.Identity, error) {
	if a.OpenHeartbeats || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return api.Identity{}, nil
	}
	return a.hostCredential(r)
}

// MayReport checks that a sender may report for a host: anybody when
// heartbeats are open, else one that holds the host's credential or a client
// certificate in its name.
func (a *Access) MayReport(r *http.Request, sender api.Identity, host string) error {
	if a.OpenHeartbeats || certifiedFor(r, host) {
		return nil
	}
	if sender.Role == "" {
		var err error
		if sender, err = a.hostCredential(r); err != nil {
			return err
		}
	}
	if sender.Name != host {
		return &denied{
			status: http.StatusForbidden, message: "this credential may not send heartbeats of " + printable.Clip(host),
			hint: "each host has its own; enrol it again if it was renamed",
		}
	}
	return nil
}

// hostCredential finds the host whose credential r carries.
func (a *Access) hostCredential(r *http.Request) (api.Identity, error) {
	id, err := a.Identify(r)
	var d *denied
	switch {
	case errors.As(err, &d) && d.status == http.StatusUnauthorized:
		d.hint = "enrol the host: ops-meta token create NAME --role enroll, then give the sidecar that token"
	case err == nil && id.Role != api.RoleHost:
		err = &denied{
			status: http.StatusForbidden, message: "a token of the role " + string(id.Role) + " may not send heartbeats",
			hint: "each host has a credential of its own; enrol the host to get it",
		}
	}
	return id, err
}

// certifiedFor reports whether the client's verified certificate is the host's.
func certifiedFor(r *http.Request, host string) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || host == "" {
		return false
	}
	leaf := r.TLS.VerifiedChains[0][0]
	return leaf.Subject.CommonName == host || slices.Contains(leaf.DNSNames, host)
}

// Address is where r comes from: the peer, or what a trusted proxy says of it.
func (a *Access) Address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !a.Trusted(addr) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = before.Unmap()
	}
	return addr
}

// Trusted reports whether an address is a proxy that speaks for others.
func (a *Access) Trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func tooMany(message string, wait time.Duration) *denied {
	return &denied{status: http.StatusTooManyRequests, message: message, hint: "wait, then try again", wait: wait}
}

// limiter holds back addresses, or names, each by itself.
type limiter[K comparable] struct {
	perMinute int
	shared    func(K) K // which ones are one and the same to it
	mu        sync.Mutex
	byKey     *lru.Cache[K, *rate.Limiter]
}

func newLimiter[K comparable](perMinute, fallback int, shared func(K) K) *limiter[K] {
	if perMinute <= 0 {
		perMinute = fallback
	}
	cache, _ := lru.New[K, *rate.Limiter](16_384) // fails only for a size below 1
	return &limiter[K]{perMinute: perMinute, shared: shared, byKey: cache}
}

// wholeNet is the address, or an IPv6 address's /64, which is one customer's.
func wholeNet(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// limiterOf is a key's own limiter.
func (l *limiter[K]) limiterOf(key K) *rate.Limiter {
	key = l.shared(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.byKey.Get(key); ok {
		return r
	}
	r := rate.NewLimiter(rate.Every(time.Minute/time.Duration(l.perMinute)), l.perMinute)
	l.byKey.Add(key, r)
	return r
}

// takeOne uses one up and reports whether there was one.
func (l *limiter[K]) takeOne(key K) bool { return l.limiterOf(key).Allow() }

// waitFor is how long a key must wait until one is left, 0 if one is.
func (l *limiter[K]) waitFor(key K) time.Duration {
	left := l.limiterOf(key).Tokens()
	if left >= 1 {
		return 0
	}
	return time.Duration((1 - left) * float64(time.Minute) / float64(l.perMinute))
}
