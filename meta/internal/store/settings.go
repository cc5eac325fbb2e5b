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

// readSetting reads a setting: NotFound when it was never written.
func (r Reader) readSetting(ctx context.Context, name string) ([]byte, error) {
	var value string
	err := r.q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("setting", name)
	}
	if err != nil {
		return nil, faultOf(fmt.Sprintf("read setting %q", name), err)
	}
	return base64.StdEncoding.DecodeString(value)
}

// EnsureSecret returns the secret setting of a name, making it of size random
// bytes when it does not exist. All replicas get the same.
func (s *Store) EnsureSecret(ctx context.Context, name string, size int) ([]byte, error) {
	fresh := make([]byte, size)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("cannot make secret: %w", err)
	}
	err := s.inTx(ctx, "make secret", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
			name, base64.StdEncoding.EncodeToString(fresh))
		return err
	})
	if err != nil {
		return nil, err
	}
	return Reader{q: s.writer}.readSetting(ctx, name)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
