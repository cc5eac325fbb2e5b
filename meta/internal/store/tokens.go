package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Secrets have 130 random bits, so a plain SHA-256 keeps them: there is
// nothing to guess that a slow hash would protect. They are found by their
// hash, which tells an attacker who measures time nothing about the secret.
func newSecret() string { return "om_" + strings.ToLower(rand.Text()) }

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CreateToken makes a token; the Secret of the returned one is seen this once.
func (tx *Tx) CreateToken(ctx context.Context, t api.Token) (api.Token, error) {
	return tx.CreateTokenWithSecret(ctx, t, newSecret())
}

// CreateTokenWithSecret makes a token with a secret that somebody else chose,
// such as a file of a deployment. It must be as good as a random one.
func (tx *Tx) CreateTokenWithSecret(ctx context.Context, t api.Token, secret string) (api.Token, error) {
	t.ID, t.CreatedAt, t.CreatedBy, t.Secret, t.LastUsed = tx.newID("t"), tx.now, tx.actor.Name, "", nil
	if err := tx.refuseUserName(ctx, t.Name); err != nil {
		return t, err
	}
	if err := insertToken(ctx, tx.q, t, secret); err != nil {
		return t, err
	}
	if err := tx.recordChange("create", "token", t.Name, nil, t); err != nil {
		return t, err
	}
	t.Secret = secret
	return t, nil
}

func insertToken(ctx context.Context, q querier, t api.Token, secret string) error {
	if len(secret) < 16 {
		return &api.Error{Kind: api.KindInvalid, Field: "secret", Message: "a secret has at least 16 characters"}
	}
	doc, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO tokens (id, name, host, hash, doc) VALUES ($1, $2, $3, $4, $5)`,
		t.ID, cleanText(t.Name), cleanText(t.Host), hashOf(secret), string(doc))
	if err != nil && kindOf(err) == api.KindExists {
		return &api.Error{Kind: api.KindExists, Message: fmt.Sprintf("token %q exists already", t.Name), Hint: "choose another name or delete it first"}
	}
	return faultOf(fmt.Sprintf("write token %q", t.Name), err)
}

// Authenticate finds the token of a secret: NotFound when there is none. It
// is for the caller to refuse an expired one.
func (r Reader) Authenticate(ctx context.Context, secret string) (api.Token, error) {
	hash := hashOf(secret)
	var stored string
	var doc []byte
	var used int64
	err := r.q.QueryRowContext(ctx, `SELECT hash, doc, last_used FROM tokens WHERE hash = $1`, hash).Scan(&stored, &doc, &used)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && subtle.ConstantTimeCompare([]byte(stored), []byte(hash)) != 1) {
		return api.Token{}, &api.Error{Kind: api.KindNotFound, Message: "there is no such token"}
	}
	if err != nil {
		return api.Token{}, faultOf("look for token", err)
	}
	return decodeToken(doc, used)
}

func decodeToken(doc []byte, used int64) (t api.Token, err error) {
	if err := json.Unmarshal(doc, &t); err != nil {
		return t, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored token", Err: err}
	}
	if used > 0 {
		at := fromMicros(used)
		t.LastUsed = &at
	}
	return t, nil
}

// Tokens lists tokens by identifier, the oldest first, without hosts'
// credentials.
func (r Reader) Tokens(ctx context.Context, c api.Cursor) (api.Page[api.Token], error) {
	return r.listTokens(ctx, whereEqual("host", ""), c)
}

// Credentials lists hosts' credentials by identifier.
func (r Reader) Credentials(ctx context.Context, c api.Cursor) (api.Page[api.Token], error) {
	var w where
	w.add("host <> %s", "")
	return r.listTokens(ctx, w, c)
}

func (r Reader) listTokens(ctx context.Context, w where, c api.Cursor) (api.Page[api.Token], error) {
	if c.After != "" {
		w.add("id > %s", cleanText(c.After))
	}
	query := `SELECT doc, last_used FROM tokens` + w.sql() + ` ORDER BY id` + w.limit(c)
	return listPage(ctx, r.q, "list tokens", pageSize(c), query, w.args, func(rows *sql.Rows) (t api.Token, err error) {
		var doc sql.RawBytes
		var used int64
		if err := rows.Scan(&doc, &used); err != nil {
			return t, err
		}
		return decodeToken(doc, used)
	}, func(t api.Token) string { return t.ID })
}

// DeleteToken ends a token, given its identifier or name, or a host's
// credential by its identifier.
func (tx *Tx) DeleteToken(ctx context.Context, idOrName string) error {
	var id string
	var doc []byte
	err := tx.q.QueryRowContext(ctx, `SELECT id, doc FROM tokens WHERE id = $1 OR (name = $1 AND host = '')`, cleanText(idOrName)).Scan(&id, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return notFound("token", idOrName)
	}
	if err != nil {
		return faultOf("look for token", err)
	}
	t, err := decodeToken(doc, 0)
	if err != nil {
		return err
	}
	if _, err := tx.q.ExecContext(ctx, `DELETE FROM tokens WHERE id = $1`, id); err != nil {
		return faultOf("delete token", err)
	}
	return tx.recordChange("delete", "token", t.Name, t, nil)
}

// HostCredential is what EnrollHost gives a host.
type HostCredential struct {
	Actor   api.Actor // the enrolment token that asks
	Host    string
	Replace bool // end the credential that the host has, if that was never used
}

// EnrollHost makes a host's credential. It writes an audit entry but leaves
// the serial alone: enrolling a fleet changes nothing of what is wanted. A
// host that has one already gets Exists, unless the request says Replace.
func (s *Store) EnrollHost(ctx context.Context, c HostCredential) (api.Token, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	t := api.Token{
		ID: "c" + strings.ToLower(rand.Text()), Name: "host:" + c.Host, Role: api.RoleHost, Host: c.Host,
		CreatedAt: now, CreatedBy: c.Actor.Name,
	}
	secret := newSecret()
	err := s.inTx(ctx, fmt.Sprintf("enrol host %q", c.Host), func(tx *sql.Tx) error {
		// Before the audit entry gets its number, so that numbers become visible in
		// their order.
		if err := s.lockSerial(ctx, tx); err != nil {
			return err
		}
		if c.Replace {
			// Only while it was never used: the reply that carried it may have been
			// lost. Once its host has reported, nobody enrols in its name any more.
			if _, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE host = $1 AND last_used = 0`, cleanText(c.Host)); err != nil {
				return err
			}
		}
		if err := insertToken(ctx, tx, t, secret); err != nil {
			return err
		}
		after, err := json.Marshal(t)
		if err != nil {
			return err
		}
		return s.insertAudit(ctx, tx, 0, []auditEntry{{Time: now, Actor: c.Actor, Action: "enrol", Kind: "host", Name: c.Host, After: after}})
	})
	t.Secret = secret
	return t, err
}

// HostToken reads the credential that a host has, without its secret.
func (r Reader) HostToken(ctx context.Context, host string) (api.Token, error) {
	var doc []byte
	var used int64
	err := r.q.QueryRowContext(ctx, `SELECT doc, last_used FROM tokens WHERE host = $1 AND host <> ''`, cleanText(host)).Scan(&doc, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return api.Token{}, notFound("credential of host", host)
	}
	if err != nil {
		return api.Token{}, faultOf("look for credential", err)
	}
	return decodeToken(doc, used)
}

// FirstUse notes that a credential is in use, so that nobody can take its host
// over by enrolling it again; NotFound when somebody just has.
func (s *Store) FirstUse(ctx context.Context, id string, at time.Time) error {
	return s.inTx(ctx, "note the first use of a credential", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE tokens SET last_used = CASE WHEN last_used = 0 THEN $2 ELSE last_used END WHERE id = $1`, id, toMicros(at))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return &api.Error{Kind: api.KindNotFound, Message: "there is no such token"}
	})
}

// TouchTokens notes when tokens and sessions, by identifier, were last used.
func (s *Store) TouchTokens(ctx context.Context, used map[string]time.Time) error {
	return s.inTx(ctx, "note use of tokens", func(tx *sql.Tx) error {
		// Sorted: replicas that note the same tokens would take the rows' locks
		// crosswise.
		for _, id := range sortedKeys(used) {
			for _, table := range []string{"tokens", "sessions"} {
				_, err := tx.ExecContext(ctx, `UPDATE `+table+` SET last_used = $2 WHERE id = $1 AND last_used < $2`, id, toMicros(used[id]))
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}
