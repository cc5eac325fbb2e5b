package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Levels of an [api.Check].
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

// Check looks the database over, for doctor: whether it can be written, is
// intact, and agrees with itself. Findings are what it returns; it does not
// fail.
func (s *Store) Check(ctx context.Context) []api.Check {
	checks := []api.Check{
		s.runCheck(ctx, "database", s.checkDatabase),
		s.runCheck(ctx, "database schema", s.checkSchema),
		s.runCheck(ctx, "database integrity", s.checkIntegrity),
		s.runCheck(ctx, "database contents", s.checkContents),
		s.runCheck(ctx, "rollout counters", s.checkCounters),
		s.runCheck(ctx, "undelivered notifications", s.checkOutbox),
		s.runCheck(ctx, "leader", s.checkLeases),
		s.runCheck(ctx, "clock", s.checkClock),
	}
	return checks
}

func (s *Store) runCheck(ctx context.Context, name string, look func(context.Context, *api.Check) error) api.Check {
	c := api.Check{Name: name, Level: levelOK}
	if err := look(ctx, &c); err != nil {
		c.Level, c.Detail = levelError, err.Error()
	}
	return c
}

func (s *Store) checkDatabase(ctx context.Context, c *api.Check) error {
	query := `SELECT 'SQLite ' || sqlite_version()`
	if s.dialect.Postgres {
		query = `SELECT version()`
	}
	if err := s.reader.QueryRowContext(ctx, query).Scan(&c.Detail); err != nil {
		return faultOf("reach the database", err)
	}
	// Also that it can be written: a full disk or a standby can only be read.
	return s.ProveWritable(ctx)
}

func (s *Store) checkSchema(ctx context.Context, c *api.Check) error {
	at, err := schemaVersion(ctx, s.reader)
	if err != nil {
		return faultOf("read the schema's version", err)
	}
	all, err := allMigrations(s.dialect)
	if err != nil {
		return err
	}
	c.Detail = fmt.Sprintf("version %d of %d", at, len(all))
	if at != len(all) {
		c.Level, c.Hint = levelError, "start ops-meta serve of this version to migrate it"
	}
	return nil
}

func (s *Store) checkIntegrity(ctx context.Context, c *api.Check) error {
	c.Detail = "PostgreSQL checks its pages itself; see data_checksums and amcheck"
	if s.dialect.Postgres {
		return nil
	}
	lines, err := listAll(ctx, s.reader, "check integrity", `PRAGMA integrity_check(20)`, nil, func(rows *sql.Rows) (line string, err error) {
		return line, rows.Scan(&line)
	})
	c.Detail = strings.Join(lines, "; ")
	if err == nil && c.Detail != "ok" {
		c.Level, c.Hint = levelError, "stop ops-meta, keep the file, and restore the last backup into a new directory"
	}
	return err
}

func (s *Store) checkContents(ctx context.Context, c *api.Check) error {
	var parts []string
	for _, table := range []string{"hosts", "agents", "releases", "artifacts", "groups", "assignments", "rollouts", "grants", "host_events", "audit"} {
		var n int64
		if err := s.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
			return faultOf("count "+table, err)
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(table, "_", " ")))
	}
	c.Detail = strings.Join(parts, ", ")
	return nil
}

// checkCounters compares what rollouts in force count with the grants there
// are.
func (s *Store) checkCounters(ctx context.Context, c *api.Check) error {
	query := `SELECT s.rollout, s.stage FROM rollout_stages s JOIN rollouts r ON r.name = s.rollout WHERE r.active = 1 AND (
		s.granted <> (SELECT COUNT(*) FROM grants g WHERE g.rollout = s.rollout AND g.stage = s.stage)
		OR s.succeeded <> (SELECT COUNT(*) FROM grants g WHERE g.rollout = s.rollout AND g.stage = s.stage AND g.outcome = 'succeeded')
		OR s.failed <> (SELECT COUNT(*) FROM grants g WHERE g.rollout = s.rollout AND g.stage = s.stage AND g.outcome = 'failed'))
		ORDER BY s.rollout, s.stage LIMIT 5`
	wrong, err := listAll(ctx, s.reader, "compare counters", query, nil, func(rows *sql.Rows) (string, error) {
		var rollout string
		var stage int
		err := rows.Scan(&rollout, &stage)
		return fmt.Sprintf("%s stage %d", rollout, stage), err
	})
	c.Detail = "agree with the grants"
	if len(wrong) > 0 {
		c.Level, c.Detail = levelError, "don't agree with the grants: "+strings.Join(wrong, ", ")
		c.Hint = "abort these rollouts and begin new ones"
	}
	return err
}

// checkLeases says who looks after the rollouts, and until when.
func (s *Store) checkLeases(ctx context.Context, c *api.Check) error {
	leases, err := s.listLeases(ctx, s.dialect, s.id)
	c.Detail = "nobody has led yet"
	for _, l := range leases {
		if l.Name != "rollouts" {
			continue
		}
		who := map[bool]string{true: "this server", false: "another server"}[l.Mine]
		switch until := l.Until.Round(time.Second); {
		case l.Until <= 0:
			c.Detail = fmt.Sprintf("nobody leads the rollouts since %s", -until)
		case l.Until > longestLease:
			c.Level, c.Detail = levelWarning, fmt.Sprintf("the lease of the rollouts would end in %s, taken while a clock was ahead: it is not believed", until)
		default:
			c.Detail = fmt.Sprintf("%s leads the rollouts for the next %s", who, until)
		}
	}
	return err
}

// longestLease is more than any lease is taken for.
const longestLease = 6 * time.Hour

// clockOff is by how much two clocks may differ.
const clockOff = 5 * time.Second

func (s *Store) checkClock(ctx context.Context, c *api.Check) error {
	ahead, err := s.clockAhead(ctx)
	c.Detail = "this machine's and the database's agree"
	if ahead.Abs() > clockOff {
		c.Level, c.Detail = levelWarning, fmt.Sprintf("the database's is %s ahead of this machine's", ahead.Round(time.Second))
		c.Hint = "keep both in time, by NTP: deadlines and leases go by them"
	}
	return err
}

func (s *Store) checkOutbox(ctx context.Context, c *api.Check) error {
	var waiting, dead int64
	err := s.reader.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(1 - dead), 0) AS BIGINT), CAST(COALESCE(SUM(dead), 0) AS BIGINT) FROM outbox`).Scan(&waiting, &dead)
	c.Detail = fmt.Sprintf("%d waiting, %d given up", waiting, dead)
	if dead > 0 {
		c.Level, c.Hint = levelWarning, "look at the dead letters, mend the receiver and retry them"
	}
	return faultOf("count notifications", err)
}
