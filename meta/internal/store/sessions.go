package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// OpenSession makes a session; the Secret of the returned one is seen this
// once. It writes an audit entry but leaves the serial alone: a login changes
// nothing of what is wanted. As is the user as whom the person was let in, who
// must still be the same; 0 for one whom somebody else vouches for. An identifier that
// it is given is taken once: Exists while there is that session.
func (s *Store) OpenSession(ctx context.Context, sess api.Session, as int64) (api.Session, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	secret := api.SessionSecret(rand.Text())
	sess.ID = cmp.Or(sess.ID, "s"+strings.ToLower(rand.Text()[:12]))
	sess.CreatedAt, sess.ExpiresAt, sess.Secret, sess.LastUsed = now, now.Add(api.SessionLife), "", nil
	doc, err := json.Marshal(sess)
	if err != nil {
		return sess, err
	}
	err = s.inTx(ctx, fmt.Sprintf("log %q in", sess.Name), func(tx *sql.Tx) error {
		// Before the user is looked at: who changes one ends the sessions that there
		// are, and no other begins meanwhile.
		if err := s.lockSerial(ctx, tx); err != nil {
			return err
		}
		if as != 0 {
			user, err := Reader{q: tx}.User(ctx, sess.Name)
			if err == nil && user.Revision != as {
				err = notFound("user", sess.Name)
			}
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, name, hash, doc, expires) VALUES ($1, $2, $3, $4, $5)`,
			sess.ID, cleanText(sess.Name), hashOf(secret), string(doc), toMicros(sess.ExpiresAt))
		if err != nil {
			return err
		}
		by := api.Actor{Name: sess.Name, From: sess.From}
		return s.insertAudit(ctx, tx, 0, []auditEntry{{Time: now, Actor: by, Action: "login", Kind: "session", Name: sess.Name, After: doc}})
	})
	sess.Secret = secret
	return sess, err
}

// AuthenticateSession finds the session of a secret: NotFound when there is
// none. It is for the caller to refuse one that has ended.
func (r Reader) AuthenticateSession(ctx context.Context, secret string) (api.Session, error) {
	return r.readSession(ctx, `hash = $1`, hashOf(secret))
}

// Session reads one by its identifier.
func (r Reader) Session(ctx context.Context, id string) (api.Session, error) {
	return r.readSession(ctx, `id = $1`, cleanText(id))
}

func (r Reader) readSession(ctx context.Context, cond, arg string) (api.Session, error) {
	var doc []byte
	var used int64
	err := r.q.QueryRowContext(ctx, `SELECT doc, last_used FROM sessions WHERE `+cond, arg).Scan(&doc, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return api.Session{}, &api.Error{Kind: api.KindNotFound, Message: "there is no such session"}
	}
	if err != nil {
		return api.Session{}, faultOf("look for session", err)
	}
	return decodeSession(doc, used)
}

func decodeSession(doc []byte, used int64) (s api.Session, err error) {
	if err := json.Unmarshal(doc, &s); err != nil {
		return s, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored session", Err: err}
	}
	if used > 0 {
		at := fromMicros(used)
		s.LastUsed = &at
	}
	return s, nil
}

// Sessions lists those that have not ended, by identifier: of one person, or
// of everyone when no name is given.
func (r Reader) Sessions(ctx context.Context, name string, c api.Cursor) (api.Page[api.Session], error) {
	var w where
	w.add("expires > %s", toMicros(time.Now()))
	if name != "" {
		w.add("name = %s", cleanText(name))
	}
	if c.After != "" {
		w.add("id > %s", cleanText(c.After))
	}
	query := `SELECT doc, last_used FROM sessions` + w.sql() + ` ORDER BY id` + w.limit(c)
	return listPage(ctx, r.q, "list sessions", pageSize(c), query, w.args, func(rows *sql.Rows) (s api.Session, err error) {
		var doc sql.RawBytes
		var used int64
		if err := rows.Scan(&doc, &used); err != nil {
			return s, err
		}
		return decodeSession(doc, used)
	}, func(s api.Session) string { return s.ID })
}

// EndSession ends one.
func (tx *Tx) EndSession(ctx context.Context, id string) error {
	sess, err := tx.Session(ctx, id)
	if err != nil {
		return err
	}
	if _, err := tx.q.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, cleanText(id)); err != nil {
		return faultOf("end session", err)
	}
	return tx.recordChange("end", "session", sess.Name, sess, nil)
}

// endSessionsOf ends those of a person but one. What ended them is in the
// audit log already.
func (tx *Tx) endSessionsOf(ctx context.Context, name, keep string) error {
	_, err := tx.q.ExecContext(ctx, `DELETE FROM sessions WHERE name = $1 AND id <> $2`, cleanText(name), keep)
	return faultOf("end sessions", err)
}

// DeleteSessions removes at most max sessions that ended before a time.
func (s *Store) DeleteSessions(ctx context.Context, before time.Time, most int) (n int64, err error) {
	err = s.inTx(ctx, "remove ended sessions", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires < $1 ORDER BY id LIMIT $2)`, toMicros(before), most)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	return n, err
}
