package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Setting reads a setting: NotFound when it was never written.
func (r Reader) Setting(ctx context.Context, name string) ([]byte, error) {
	var value string
	err := r.q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("setting", name)
	}
	if err != nil {
		return nil, fault(fmt.Sprintf("read setting %q", name), err)
	}
	return base64.StdEncoding.DecodeString(value)
}

// PutSetting writes a setting. The audit log says that it changed, not to
// what: settings may be secrets.
func (tx *Tx) PutSetting(ctx context.Context, name string, value []byte) error {
	if err := writeSetting(ctx, tx.q, name, value, `DO UPDATE SET value = excluded.value`); err != nil {
		return err
	}
	return tx.record("update", "setting", name, nil, nil)
}

// EnsureSecret returns the secret setting of a name, making it of size random
// bytes when it does not exist. All replicas get the same.
func (s *Store) EnsureSecret(ctx context.Context, name string, size int) ([]byte, error) {
	fresh := make([]byte, size)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("cannot make secret: %w", err)
	}
	err := s.inTx(ctx, "make secret", func(tx *sql.Tx) error {
		return writeSetting(ctx, tx, name, fresh, `DO NOTHING`)
	})
	if err != nil {
		return nil, err
	}
	return Reader{q: s.writer}.Setting(ctx, name)
}

func writeSetting(ctx context.Context, q querier, name string, value []byte, conflict string) error {
	_, err := q.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) `+conflict,
		name, base64.StdEncoding.EncodeToString(value))
	return fault(fmt.Sprintf("write setting %q", name), err)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
