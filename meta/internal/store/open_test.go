package store_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestReplicasMayStartAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), d.cfg)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestADatabaseOfANewerServerIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		if err := store.Exec(s, `INSERT INTO schema_migrations (version, name, applied) VALUES (999, 'future', 0)`); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), d.cfg); api.KindOf(err) != api.KindInvalid || err == nil {
			t.Errorf("got %v, want it refused", err)
		}
	})
}

// An older server only looks at the version of the schema: where hosts are
// written in a way that it cannot read, that version must tell.
func TestANewEncodingOfHostsIsANewSchema(t *testing.T) {
	s := database{cfg: store.Config{Dir: t.TempDir()}}.open(t)
	version, err := store.SchemaVersion(t.Context(), s)
	if err != nil || version < store.HostEncoding {
		t.Errorf("schema version %d, %v, with hosts in encoding %d: an older server would start on it", version, err, store.HostEncoding)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]store.Config{
		"neither":            {},
		"both":               {Dir: t.TempDir(), DSN: "postgres:///x"},
		"no address":         {DSN: "postgres://%zz"},
		"nobody listens":     {DSN: "postgres://ops@127.0.0.1:1/x?connect_timeout=2"},
		"not a directory":    {Dir: occupied},
		"below no directory": {Dir: filepath.Join(occupied, "data")},
	} {
		if s, err := store.Open(t.Context(), c); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	database{cfg: store.Config{Dir: dir}}.open(t)
	for _, name := range []string{"", "ops-meta.db", "ops-meta.db-wal"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestDoctor(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		world(t, s)
		for _, c := range s.Check(t.Context()) {
			if c.Level != "ok" || c.Detail == "" {
				t.Errorf("%+v", c)
			}
		}
		if err := store.Exec(s, `UPDATE rollout_stages SET granted = granted + 1`); err != nil {
			t.Fatal(err)
		}
		if err := store.Exec(s, `UPDATE outbox SET dead = 1`); err != nil {
			t.Fatal(err)
		}
		levels := map[string]string{}
		for _, c := range s.Check(t.Context()) {
			levels[c.Name] = c.Level
		}
		if levels["rollout counters"] != "error" || levels["undelivered notifications"] != "warning" {
			t.Errorf("levels %v", levels)
		}
	})
}
