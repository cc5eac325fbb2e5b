package store_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// unzipped is a backup's text.
func unzipped(t *testing.T, s *store.Store) string {
	t.Helper()
	var archive bytes.Buffer
	must(s.Backup(t.Context(), &archive))(t)
	zip := must(gzip.NewReader(&archive))(t)
	return string(must(io.ReadAll(zip))(t))
}

// world fills every table.
func world(t *testing.T, s *store.Store) {
	t.Helper()
	furnish(t, s)
	start(t, s, "r1")
	if ok, err := grant(t.Context(), s, "r1", "a", 10); !ok || err != nil {
		t.Fatal(ok, err)
	}
	judge(t, s, store.Judgement{Rollout: "r1", Host: "a", Outcome: api.OutcomeFailed, Time: moment()})
	var reports []api.HostReport
	for i := range 500 { // more than one statement's
		h := host(fmt.Sprintf("host-%03d", i), moment())
		reports = append(reports, api.HostReport{Host: h, Events: []api.Event{{Host: h.Name, Kind: api.EventFirstSeen, Time: moment(), Message: "<&>\u2028"}}})
	}
	if err := s.SaveReports(t.Context(), reports); err != nil {
		t.Fatal(err)
	}
	must(s.EnsureSecret(t.Context(), "cookie", 32))(t)
	must(s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: "host-000"}))(t)
	if err := s.Notify(t.Context(), api.Notification{Kind: "test", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveSamples(t.Context(), []api.Sample{{At: moment(), Agent: "web"}}); err != nil {
		t.Fatal(err)
	}
	write(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutNotifyTarget(ctx, api.NotifyTarget{Name: "ops", Secret: "hunter2"})
		return err
	})
}

// contents is everything that can be read of a store.
func contents(t *testing.T, s *store.Store) map[string]any {
	t.Helper()
	w := must(s.Wanted(t.Context()))(t)
	w.Serial, w.Standstill, w.Eras = 0, nil, nil // what a restore makes again
	var hosts []api.Host
	if err := s.LoadHosts(t.Context(), func(stored store.StoredHost) error {
		var h api.Host
		err := stored.Decode(&h)
		hosts = append(hosts, h)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	all := api.Cursor{Limit: 10_000}
	return map[string]any{
		"wanted": w, "hosts": hosts,
		"events":      must(s.Events(t.Context(), api.EventFilter{}, all))(t),
		"audit":       must(s.Audit(t.Context(), api.AuditFilter{}, all))(t),
		"grants":      must(s.Grants(t.Context(), api.GrantFilter{}, all))(t),
		"transitions": must(s.Transitions(t.Context(), "r1", all))(t),
		"tokens":      must(s.Tokens(t.Context(), all))(t),
		"credential":  must(s.HostToken(t.Context(), "host-000"))(t),
		"targets":     must(s.NotifyTargets(t.Context(), "", all))(t),
		"samples":     must(s.Samples(t.Context(), "", time.Time{}))(t),
		"cookie":      must(s.EnsureSecret(t.Context(), "cookie", 32))(t),
	}
}

// A backup of either database is restored into either.
func TestBackupAndRestore(t *testing.T) {
	onBoth(t, func(t *testing.T, from database) {
		s := from.open(t)
		world(t, s)
		var archive bytes.Buffer
		written := must(s.Backup(t.Context(), &archive))(t)
		onBoth(t, func(t *testing.T, to database) {
			read := must(store.Restore(t.Context(), to.cfg, bytes.NewReader(archive.Bytes())))(t)
			if read != written || read < 1000 {
				t.Errorf("wrote %d rows, read %d", written, read)
			}
			copied := to.open(t)
			if diff := cmp.Diff(contents(t, s), contents(t, copied)); diff != "" {
				t.Errorf("contents (-original +restored):\n%s", diff)
			}
			if st := must(copied.Standstill(t.Context()))(t); st == nil || st.Paused {
				t.Errorf("the restored fleet does not stand still: %+v", st)
			}
			old, renewed := must(s.Serial(t.Context()))(t), must(copied.Serial(t.Context()))(t)
			if renewed <= old {
				t.Errorf("serial %d, restored as %d", old, renewed)
			}
			// New rows come after the restored ones.
			write(t, copied, put("new"))
			if err := copied.AppendEvents(t.Context(), []api.Event{{Host: "a", Kind: api.EventGrant, Time: moment()}}); err != nil {
				t.Error(err)
			}
			if e := must(copied.Events(t.Context(), api.EventFilter{}, api.Cursor{Limit: 1}))(t).Items[0]; e.Kind != api.EventGrant {
				t.Errorf("the newest event is %+v", e)
			}
			if _, err := store.Restore(t.Context(), to.cfg, bytes.NewReader(archive.Bytes())); api.KindOf(err) != api.KindExists {
				t.Errorf("restore over a database in use: %v", err)
			}
		})
	})
}

func TestBadArchivesAreRefused(t *testing.T) {
	s := database{cfg: store.Config{Dir: t.TempDir()}}.open(t)
	world(t, s)
	whole := unzipped(t, s)
	lines := strings.SplitAfter(whole, "\n")
	for name, bad := range map[string][]byte{
		"not gzip":                []byte("hello"),
		"empty":                   {},
		"cut off":                 zipped(whole)[:len(zipped(whole))/2],
		"another format":          zipped(`{"format":"tar"}` + "\n"),
		"of a newer ops-meta":     zipped(`{"format":"ops-meta-backup","version":1,"schema":999}` + "\n"),
		"of a negative schema":    zipped(`{"format":"ops-meta-backup","version":1,"schema":-1}` + "\n"),
		"without content":         zipped(lines[0] + `{"end":true,"rows":0}` + "\n"),
		"with a table twice":      zipped(lines[0] + lines[1] + lines[2] + lines[1] + strings.Join(lines[2:], "")),
		"without its end":         zipped(strings.Join(lines[:len(lines)-2], "")),
		"with rows missing":       zipped(strings.Join(slices.Delete(slices.Clone(lines), 2, 3), "")),
		"with a strange table":    zipped(lines[0] + `{"table":"audit; DROP TABLE audit","columns":["a"]}` + "\n" + lines[len(lines)-2]),
		"with a strange column":   zipped(lines[0] + `{"table":"audit","columns":["a) --"]}` + "\n" + lines[len(lines)-2]),
		"with rows of no table":   zipped(lines[0] + "[1]\n"),
		"with a row of strangers": zipped(lines[0] + `{"table":"counters","columns":["name","value"]}` + "\n" + `["x",[]]` + "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				_, err := store.Restore(t.Context(), d.cfg, bytes.NewReader(bad))
				if api.KindOf(err) != api.KindInvalid || err == nil {
					t.Errorf("got %v, want it refused as invalid", err)
				}
				left := d.open(t) // nothing was left behind
				if serial := must(left.Serial(t.Context()))(t); serial != 0 {
					t.Errorf("serial is %d", serial)
				}
			})
		})
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	io.WriteString(zip, text)
	zip.Close()
	return b.Bytes()
}

func TestEveryTableIsBackedUp(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		want := slices.Sorted(slices.Values(append(slices.Clone(store.BackedUp), "leases", "sessions", "schema_migrations")))
		if diff := cmp.Diff(want, must(store.Tables(t.Context(), d.open(t)))(t)); diff != "" {
			t.Errorf("tables (-backed up +there):\n%s", diff)
		}
	})
}

// A backup is of one moment though writes go on.
func TestBackupWhileInUse(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		for round := range 3 {
			archive := backupDuringWrites(t, s, round)
			dir := t.TempDir()
			must(store.Restore(t.Context(), store.Config{Dir: dir}, archive))(t)
			agents := must(database{cfg: store.Config{Dir: dir}}.open(t).Wanted(t.Context()))(t).Agents
			if len(agents)%2 != 1 || len(agents) < 21 { // pairs, and web
				t.Errorf("%d agents", len(agents))
			}
		}
	})
}

// backupDuringWrites backs up while two agents at a time are written: an
// archive has both or none.
func backupDuringWrites(t *testing.T, s *store.Store, round int) io.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	under, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			s.Write(ctx, operator, func(tx *store.Tx) error {
				if err := put(fmt.Sprintf("a-%d-%d", round, i))(ctx, tx); err != nil {
					return err
				}
				return put(fmt.Sprintf("b-%d-%d", round, i))(ctx, tx)
			})
			if i == 10 {
				close(under)
			}
		}
	}()
	<-under
	var archive bytes.Buffer
	must(s.Backup(t.Context(), &archive))(t)
	cancel()
	<-done
	return &archive
}
