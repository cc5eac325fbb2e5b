package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// TryLead takes or keeps the lease of a name for a time, by the database's
// clock: among all replicas it is true for one. Whoever leads calls it again
// well before the lease ends, and stops when it is false or fails.
func (s *Store) TryLead(ctx context.Context, name string, ttl time.Duration) (leads bool, err error) {
	now := s.dialect.Now
	err = s.inTx(ctx, "take lease", func(tx *sql.Tx) error {
		leads, err = changed(tx.ExecContext(ctx, `INSERT INTO leases (name, holder, expires) VALUES ($1, $2, `+now+` + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
			WHERE leases.holder = excluded.holder OR leases.expires <= `+now, name, s.id, ttl.Microseconds()))
		return err
	})
	return leads && err == nil, err
}

// Resign gives a lease up, so that another replica need not wait for its end.
func (s *Store) Resign(ctx context.Context, name string) error {
	return s.exec(ctx, "resign lease", `UPDATE leases SET expires = `+s.dialect.Now+` WHERE name = $1 AND holder = $2`, name, s.id)
}

// Vacant is for how long nobody has held the lease of a name, by the
// database's clock: negative while somebody does, zero when nobody ever did.
func (s *Store) Vacant(ctx context.Context, name string) (time.Duration, error) {
	var us int64
	err := s.writer.QueryRowContext(ctx, `SELECT `+s.dialect.Now+` - expires FROM leases WHERE name = $1`, name).Scan(&us)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return time.Duration(us) * time.Microsecond, fault("read lease", err)
}
