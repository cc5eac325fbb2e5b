package store_test

import (
	"context"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// database makes stores that share one fresh database.
type database struct {
	name string
	cfg  store.Config
}

func (d database) open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), d.cfg)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}

// onBoth runs a test on a fresh SQLite and a fresh PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, database{name: "sqlite", cfg: store.Config{Dir: t.TempDir()}})
	})
	t.Run("postgres", func(t *testing.T) { test(t, newPostgres(t)) })
}

func newPostgres(t testing.TB) database {
	t.Helper()
	return database{name: "postgres", cfg: store.Config{DSN: pgtest.NewSchema(t)}}
}

var operator = api.Actor{Name: "alice", From: "192.0.2.7"}

// write runs do in a transaction that must succeed and returns the serial.
func write(t testing.TB, s *store.Store, do func(ctx context.Context, tx *store.Tx) error) int64 {
	t.Helper()
	serial, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return do(t.Context(), tx) })
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return serial
}

// refused runs do in a transaction that must fail with a kind of error.
func refused(t testing.TB, s *store.Store, kind api.ErrorKind, do func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	_, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return do(t.Context(), tx) })
	if err == nil || api.KindOf(err) != kind {
		t.Errorf("got error %v (%s), want one of kind %s", err, api.KindOf(err), kind)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// seed writes an agent "web" with the versions 1.0 and 1.1.
func seed(t testing.TB, s *store.Store) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.PutAgent(ctx, api.Agent{Name: "web"}); err != nil {
			return err
		}
		for _, version := range []string{"1.0", "1.1"} {
			if _, err := tx.PutRelease(ctx, api.Release{Agent: "web", Version: version}); err != nil {
				return err
			}
			if _, err := tx.PutArtifact(ctx, artifact(version)); err != nil {
				return err
			}
		}
		return nil
	})
}

func artifact(version string) api.Artifact {
	return api.Artifact{Agent: "web", Version: version, Arch: "linux_amd64", SHA256: strings.Repeat("a", 60) + version, MD5: strings.Repeat("b", 32), Size: 42}
}
