package store_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// firstSchema is the oldest one that there was.
const firstSchema = 1

// TestADatabaseIsMigratedForwardBesideAnOlderReplica: the older one goes on writing what
// it wrote before, and what it wrote is there after the upgrade.
func TestADatabaseIsMigratedForwardBesideAnOlderReplica(t *testing.T) {
	const event = `INSERT INTO host_events (host, time, kind, agent, rollout, was, now, message) VALUES ('h%d', 1, 'phase', 'a', '', 'x', 'y', 'z')`
	onBoth(t, func(t *testing.T, d database) {
		older, err := store.OpenAt(t.Context(), d.cfg, firstSchema)
		if err != nil {
			t.Fatal(err)
		}
		defer older.Close()
		for i := range 3 {
			if err := store.Exec(older, fmt.Sprintf(event, i)); err != nil {
				t.Fatal(err)
			}
		}
		newer := d.open(t)
		version, err := store.SchemaVersion(t.Context(), newer)
		if all, listed := store.Migrations(); err != nil || listed != nil || version != len(all) {
			t.Errorf("schema version %d, %v, %v; want %d", version, err, listed, len(all))
		}
		if err := store.Exec(older, fmt.Sprintf(event, 3)); err != nil {
			t.Errorf("the older replica can no longer write: %v", err)
		}
		if err := store.Exec(newer, `UPDATE host_events SET reason = 'probation' WHERE host = 'h0'`); err != nil {
			t.Error(err)
		}
	})
}

func TestADowngradeIsRefusedWithBothVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		if err := store.Exec(s, `INSERT INTO schema_migrations (version, name, applied) VALUES (99, 'future', 0)`); err != nil {
			t.Fatal(err)
		}
		known := len(must(store.Migrations())(t))
		_, err := store.Open(t.Context(), d.cfg)
		if want := fmt.Sprintf("schema version 99 is of a newer ops-meta, this one knows %d: use the newer one", known); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	})
}

// TestMigrationsTakeNothingAway that an older replica still uses.
func TestMigrationsTakeNothingAway(t *testing.T) {
	takes := regexp.MustCompile(`(?i)\b(DROP|RENAME)\b`)
	adds := regexp.MustCompile(`(?i)ADD COLUMN [^;]*`)
	comments := regexp.MustCompile(`--[^\n]*`)
	for i, text := range must(store.Migrations())(t)[1:] {
		text = comments.ReplaceAllString(text, "")
		if found := takes.FindString(text); found != "" {
			t.Errorf("migration %d has a %s: replicas are upgraded one after the other", i+2, found)
		}
		for _, column := range adds.FindAllString(text, -1) {
			if strings.Contains(column, "NOT NULL") && !strings.Contains(column, "DEFAULT") {
				t.Errorf("migration %d: %s: an older replica leaves the column out", i+2, column)
			}
		}
	}
}
