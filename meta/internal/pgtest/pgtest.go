// Package pgtest lends tests a PostgreSQL.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver by the name of pgx
)

// Env names the address of the PostgreSQL that scripts/with-postgres started.
const Env = "OPS_META_TEST_POSTGRES"

var schemas atomic.Int64

// NewSchema makes a schema for one test, which goes with it, and returns the
// address that leads into it. A test without PostgreSQL is skipped, and fails
// with CI=true.
func NewSchema(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv(Env)
	if dsn == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(Env + " is not set: run the tests through scripts/with-postgres")
		}
		t.Skip("NOT TESTED ON POSTGRESQL: run the tests through scripts/with-postgres")
	}
	schema := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	if err := runStatement(dsn, `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runStatement(dsn, `DROP SCHEMA `+schema+` CASCADE`); err != nil {
			t.Error(err)
		}
	})
	return withSearchPath(t, dsn, schema)
}

// runStatement has a context of its own: a test's has ended when it cleans up.
func runStatement(dsn, statement string) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(context.Background(), statement)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func withSearchPath(t testing.TB, dsn, schema string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		t.Fatalf("%s %q is not a postgres:// URL", Env, dsn)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
