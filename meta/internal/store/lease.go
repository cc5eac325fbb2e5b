package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// TryLead takes or keeps the lease of a name for a time, by the database's
// clock: among all replicas it is true for one. The leader calls it again
// well before the lease ends, and stops when it is false or fails.
//
// A lease that ends further away than its own length was taken while a clock
// was ahead: it is not believed.
func (s *Store) TryLead(ctx context.Context, name string, ttl time.Duration) (leads bool, err error) {
	now := s.dialect.Now
	err = s.inTx(ctx, "take lease", func(tx *sql.Tx) error {
		// Taken, kept or refused in one statement: of two that find a lease over, the
		// row's lock lets one have it and the other sees it taken.
		leads, err = rowsChanged(tx.ExecContext(ctx, `INSERT INTO leases (name, holder, expires) VALUES ($1, $2, `+now+` + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
			WHERE leases.holder = excluded.holder OR leases.expires <= `+now+` OR leases.expires > `+now+` + $3`, name, s.id, ttl.Microseconds()))
		return err
	})
	return leads && err == nil, err
}

// EndLeases ends every lease that is held, and moves those that have ended by
// what the clock jumped since, so that for how long nobody led is known. It is
// for a server whose database nobody else can have open, as the lock of an
// SQLite's directory proves.
func (s *Store) EndLeases(ctx context.Context, jumped time.Duration) error {
	now := s.dialect.Now
	return s.execWrite(ctx, "end leases", `UPDATE leases SET expires = CASE WHEN expires + $1 > `+now+` THEN `+now+` ELSE expires + $1 END`, jumped.Microseconds())
}

// Lease is who has a lease until when.
type Lease struct {
	Name  string
	Mine  bool
	Until time.Duration // from now by the database's clock; negative: it is over
}

// Leases lists those that are held or were held last.
func (r Reader) listLeases(ctx context.Context, d dialect, id string) ([]Lease, error) {
	return listAll(ctx, r.q, "list leases", `SELECT name, holder, expires - `+d.Now+` FROM leases ORDER BY name`, nil, func(rows *sql.Rows) (l Lease, err error) {
		var holder string
		var us int64
		err = rows.Scan(&l.Name, &holder, &us)
		l.Mine, l.Until = holder == id, time.Duration(us)*time.Microsecond
		return l, err
	})
}

// Clock is how far the database's clock is ahead of ours.
func (s *Store) clockAhead(ctx context.Context) (ahead time.Duration, err error) {
	var us int64
	// Half of the way there and back is the answer's age: a slow database must not
	// look like a wrong clock.
	begun := time.Now()
	if err := s.reader.QueryRowContext(ctx, `SELECT `+s.dialect.Now).Scan(&us); err != nil {
		return 0, faultOf("read the database's clock", err)
	}
	return time.UnixMicro(us).Sub(begun.Add(time.Since(begun) / 2)), nil
}

// ResignLease gives a lease up, so that another replica need not wait for its end.
func (s *Store) ResignLease(ctx context.Context, name string) error {
	return s.execWrite(ctx, "resign lease", `UPDATE leases SET expires = `+s.dialect.Now+` WHERE name = $1 AND holder = $2`, name, s.id)
}

// VacantFor is for how long nobody has held the lease of a name, by the
// database's clock: negative while somebody does, zero when nobody ever did.
func (s *Store) VacantFor(ctx context.Context, name string) (time.Duration, error) {
	var us int64
	err := s.writer.QueryRowContext(ctx, `SELECT `+s.dialect.Now+` - expires FROM leases WHERE name = $1`, name).Scan(&us)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return time.Duration(us) * time.Microsecond, faultOf("read lease", err)
}
