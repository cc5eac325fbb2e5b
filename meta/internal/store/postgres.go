package store

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// openPostgres makes the pool; connections are made when they are needed, so
// that a PostgreSQL that comes back is simply used again.
func (s *Store) openPostgres() error {
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
	s.writer = stdlib.OpenDB(*cfg)
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
