package server_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// beatOf is a report of one agent, with the mark of an earlier answer.
func beatOf(host, version, status, mark string) meta.HeartbeatRequest {
	b := meta.HeartbeatRequest{Hostname: host, Arch: "linux_amd64", BootID: host, Protocol: meta.Protocol, SerialMark: mark, RealAgents: []meta.RealAgent{}}
	if version != "" {
		b.RealAgents = append(b.RealAgents, meta.RealAgent{Name: "demo", Version: version, Status: status, RunUser: "app", WorkDir: "/opt", Phase: meta.PhaseIdle})
	}
	return b
}

// told is what a host is told, in short: "demo 1.0 start".
func (r *running) told(t *testing.T, b meta.HeartbeatRequest) string {
	t.Helper()
	got, status := r.heartbeat(t, "", b)
	if status != http.StatusOK {
		t.Fatalf("heartbeat of %s: %d", b.Hostname, status)
	}
	var all []string
	for _, d := range got.DesiredAgents {
		all = append(all, strings.TrimSpace(d.Name+" "+d.Version+" "+d.Cmd))
	}
	return strings.Join(all, ", ")
}

func (r *running) mustTell(t *testing.T, b meta.HeartbeatRequest, want string) {
	t.Helper()
	if got := r.told(t, b); got != want {
		t.Errorf("%s, which reports %v, is told %q, want %q", b.Hostname, b.RealAgents, got, want)
	}
}

func openConfig(t *testing.T, conf server.Config) server.Config {
	t.Helper()
	conf.Heartbeats = server.HeartbeatsOpen
	return conf
}

// After a restore every host keeps what it reports until somebody has seen the
// difference and says go.
func TestAfterARestoreTheFleetStandsStill(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf = openConfig(t, conf)
		r := start(t, conf)
		for _, v := range []string{"1.0", "1.1", "1.2"} {
			r.publish(t, "demo", v)
		}
		r.deploy(t, "demo", "1.0")
		r.told(t, beatOf("a", "1.0", "started", ""))
		rollout, err := r.admin.CreateRollout(t.Context(), api.NewRollout{
			Agent: "demo", Version: "1.1", Scope: api.Scope{Kind: api.ScopeEveryone},
			Inline: &api.Strategy{Stages: []api.Stage{{Percent: 100, Soak: 3600}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		within(t, func() bool { return r.told(t, beatOf("a", "1.0", "started", "")) == "demo 1.1 start" })
		var archive bytes.Buffer
		if err := r.admin.Backup(t.Context(), &archive); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}

		again := openConfig(t, newConfig(t))
		if conf.DB != "" {
			again.DB = pgtest.NewSchema(t)
		}
		if _, err := server.Restore(t.Context(), again, &archive); err != nil {
			t.Fatal(err)
		}
		s := start(t, again)
		s.token, s.admin = r.token, s.as(t, r.token)
		s.mustTell(t, beatOf("a", "1.2", "started", ""), "demo 1.2 start")
		s.mustTell(t, beatOf("stopped", "1.2", "stoped", ""), "demo")
		s.mustTell(t, beatOf("unknown", "9.9", "started", ""), "demo")
		s.mustTell(t, beatOf("new", "", "", ""), "")
		s.mustTell(t, beatOf("a", "1.2", "stoped", ""), "demo 1.2 start") // it has crashed
		if got, err := s.admin.Rollout(t.Context(), rollout.ID); err != nil || got.State != api.RolloutPaused || got.Reason != "standstill" {
			t.Errorf("the rollout that was under way: %s (%s), %v", got.State, got.Reason, err)
		}
		if page := s.raw(t, "GET", "/api/v1/doctor", nil); !strings.Contains(string(page.body), "stands still") {
			t.Errorf("doctor says %s", page.body)
		}

		seen, err := s.admin.Standstill(t.Context())
		if err != nil || !seen.Active {
			t.Fatalf("%+v, %v", seen, err)
		}
		moves := ""
		for _, m := range seen.Moves {
			moves += fmt.Sprintf("%s %s→%s %s %d; ", m.Agent, m.From, m.To, m.Cmd, m.Hosts)
		}
		if !strings.Contains(moves, "demo 1.2→1.1 start 1;") || !strings.Contains(moves, "demo →1.0 start 1;") {
			t.Errorf("the difference is %s", moves)
		}
		s.deploy(t, "demo", "1.2") // what is wanted is mended
		if p := problem(second(s.admin.EndStandstill(t.Context(), api.EndStandstill{Seen: seen.Seen}))); p == nil || p.Status != http.StatusConflict {
			t.Errorf("ended with the difference of before: %+v", p)
		}
		s.mustTell(t, beatOf("a", "1.2", "started", ""), "demo 1.2 start")
		if seen, err = s.admin.Standstill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.admin.EndStandstill(t.Context(), api.EndStandstill{Seen: seen.Seen, Reason: "looked at it"}); err != nil {
			t.Fatal(err)
		}
		s.mustTell(t, beatOf("stopped", "1.2", "stoped", ""), "demo 1.2 start")
		s.mustTell(t, beatOf("unknown", "9.9", "started", ""), "demo 1.2 start")
		s.mustTell(t, beatOf("new", "", "", ""), "demo 1.2 start")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		s = start(t, again)
		s.mustTell(t, beatOf("later", "", "", ""), "demo 1.2 start")
	})
}

// copyDir copies the files of a data directory, as a snapshot of the machine
// would have them.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// The database went back, and what remembers it is outside: the data directory
// of the server, or nothing but the hosts.
func TestADatabaseThatWentBackIsFoundOut(t *testing.T) {
	for name, whole := range map[string]bool{"the database's file alone": false, "the whole data directory": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := openConfig(t, newConfig(t))
			r := start(t, conf)
			r.publish(t, "demo", "1.0")
			r.publish(t, "demo", "1.1")
			r.deploy(t, "demo", "1.0")
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			old := t.TempDir() + "/old"
			copyDir(t, conf.Data, old)
			r = start(t, conf)
			r.deploy(t, "demo", "1.1")
			got, _ := r.heartbeat(t, "", beatOf("a", "1.0", "started", ""))
			if got.SerialMark == "" {
				t.Fatal("the answer has no mark")
			}
			within(t, func() bool { // the notes follow at once, not before the reply
				text, _ := os.ReadFile(filepath.Join(conf.Data, "serial"))
				return strings.TrimSpace(string(text)) == got.SerialMark
			})
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			if whole {
				conf.Data = old
			} else {
				for _, f := range []string{"ops-meta.db", "ops-meta.db-wal", "ops-meta.db-shm"} {
					_ = os.Remove(filepath.Join(conf.Data, f))
				}
				data, err := os.ReadFile(filepath.Join(old, "ops-meta.db"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(conf.Data, "ops-meta.db"), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r = start(t, conf)
			if st, err := r.admin.Standstill(t.Context()); err != nil || st.Active == whole {
				t.Fatalf("before any host reports: %+v, %v", st, err)
			}
			if whole { // nobody can know yet, but what somebody makes up proves nothing
				r.mustTell(t, beatOf("liar", "1.1", "started", "zzzzzzzzzz.99999.000000000000000000000000"), "demo 1.0 start")
			}
			r.mustTell(t, beatOf("a", "1.1", "started", got.SerialMark), "demo 1.1 start")
			r.mustTell(t, beatOf("b", "1.1", "started", ""), "demo 1.1 start")
			st, err := r.admin.Standstill(t.Context())
			if err != nil || !st.Active || !strings.Contains(st.Standstill.Reason, "went back") {
				t.Errorf("%+v, %v", st, err)
			}
			if _, err := r.admin.EndStandstill(t.Context(), api.EndStandstill{Seen: st.Seen}); err != nil {
				t.Fatal(err)
			}
			// What was said before is known to be void: a host that comes late begins no other one.
			r.mustTell(t, beatOf("late", "1.1", "started", got.SerialMark), "demo 1.0 start")
		})
	}
}

// A standby that is promoted before it had everything: the server runs on, and
// its database is behind what it has read.
func TestADatabaseThatGoesBackUnderARunningServerIsFoundOut(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf = openConfig(t, conf)
		r := start(t, conf)
		r.publish(t, "demo", "1.0")
		r.publish(t, "demo", "1.1")
		r.deploy(t, "demo", "1.0")
		r.deploy(t, "demo", "1.1")
		r.mustTell(t, beatOf("a", "1.1", "started", ""), "demo 1.1 start")
		driver, dsn := "pgx", conf.DB
		if dsn == "" {
			driver, dsn = "sqlite", filepath.Join(conf.Data, "ops-meta.db")
		}
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, back := range []string{
			`UPDATE assignments SET doc = replace(doc, '1.1', '1.0'), version = '1.0'`,
			`UPDATE counters SET value = value - 1 WHERE name = 'serial'`,
		} {
			within(t, func() bool { _, err = db.Exec(back); return err == nil })
		}
		within(t, func() bool { st, err := r.admin.Standstill(t.Context()); return err == nil && st.Active })
		r.mustTell(t, beatOf("a", "1.1", "started", ""), "demo 1.1 start")
		st, err := r.admin.Standstill(t.Context())
		if err != nil || len(st.Moves) != 1 || st.Moves[0].To != "1.0" {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
