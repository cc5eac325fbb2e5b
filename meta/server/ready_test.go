package server_test

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// What cannot be written makes a server not ready, and it says which; it is
// ready again as soon as it can.
func TestReadyMeansThatItCanBeWritten(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, data string) (mend func())
		says  string
	}{
		"the database is locked": {says: "database", spoil: func(t *testing.T, data string) func() {
			other, err := sql.Open("sqlite", filepath.Join(data, "ops-meta.db"))
			if err != nil {
				t.Fatal(err)
			}
			other.SetMaxOpenConns(1)
			within(t, func() bool { _, err := other.Exec("BEGIN EXCLUSIVE"); return err == nil })
			return func() { other.Close() }
		}},
		"the directory of artifacts is gone": {says: "directory of artifacts", spoil: func(t *testing.T, data string) func() {
			dir := filepath.Join(data, "artifacts", "incoming")
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Rename(dir+".away", dir); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := newConfig(t)
			r := start(t, conf)
			ask := func(path string) answer { return r.raw(t, "GET", path, nil, "Authorization", "") }
			within(t, func() bool { return ask("/readyz").StatusCode == http.StatusOK })
			mend := c.spoil(t, conf.Data)
			within(t, func() bool {
				got := ask("/readyz")
				return got.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(got.body), c.says)
			})
			if got := ask("/healthz"); got.StatusCode != http.StatusOK {
				t.Errorf("/healthz says %d: the process does answer", got.StatusCode)
			}
			mend()
			within(t, func() bool { return ask("/readyz").StatusCode == http.StatusOK })
		})
	}
}
