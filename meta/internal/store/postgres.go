package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// openPostgres makes the pool; connections are made when they are needed, so
// that a PostgreSQL that comes back is simply used again.
func (s *Store) openPostgres(_ context.Context) error {
	s.dialect = postgresDialect
	cfg, err := pgx.ParseConfig(s.cfg.DSN)
	if err != nil {
		return fmt.Errorf("cannot read address of PostgreSQL: %w", err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "ops-meta"
	}
	s.writer = stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(boundSession))
	conns := s.cfg.MaxConns
	if conns == 0 {
		conns = 16
	}
	s.writer.SetMaxOpenConns(conns)
	s.writer.SetMaxIdleConns(conns)
	s.writer.SetConnMaxIdleTime(5 * time.Minute)
	s.reader = s.writer
	return nil
}

// boundSession bounds what a replica that hangs, or whose machine is gone, can keep
// from the others: it holds rows' locks. SET rather than startup parameters,
// which some proxies refuse.
func boundSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s';
		SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3`)
	return err
}
