package server_test

import (
	"bytes"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// opsMeta is the program, with places in it where it can be killed.
type opsMeta struct {
	bin  string
	conf server.Config
}

// run runs a command, which is killed at a point unless that is empty, and
// returns what it said and how it ended.
func (o opsMeta) run(t *testing.T, point string, args ...string) (said string, err error) {
	t.Helper()
	if o.conf.DB != "" {
		args = append(args, "--db", o.conf.DB)
	}
	cmd := exec.CommandContext(t.Context(), o.bin, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if point != "" {
		cmd.Env = append(cmd.Env, "OPS_UPDATER_FAULT="+point+":kill")
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// killed fails the test unless a command was killed by SIGKILL.
func killed(t *testing.T, said string, err error) {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("it was not killed: %v\n%s", err, said)
	}
}

// ended fails the test when a command did not succeed.
func ended(t *testing.T, said string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// hidden lists the files below a directory that only something half done has.
func hidden(t *testing.T, dir string) (found []string) {
	t.Helper()
	for _, path := range tree(t, dir) {
		if path != dir && strings.HasPrefix(filepath.Base(path), ".") {
			found = append(found, path)
		}
	}
	return found
}

// A backup may be killed at every moment: the one before stays whole, and the
// next one leaves nothing of those that were killed.
func TestABackupThatIsKilledLeavesNothingForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: kills backups")
	}
	bin := buildProgram(t, "faultpoints")
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.publish(t, "demo", "1.0")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		o := opsMeta{bin, conf}
		dir := t.TempDir()
		file := filepath.Join(dir, "meta [1].backup")
		said, err := o.run(t, "", "backup", file, "--data", conf.Data)
		ended(t, said, err)
		for _, point := range []string{"backup.begun", "backup.room", "backup.dumped", "backup.contents", "backup.written", "backup.placed"} {
			before := content(t, file)
			said, err := o.run(t, point, "backup", file, "--data", conf.Data)
			killed(t, said, err)
			if after := content(t, file); point != "backup.placed" && !bytes.Equal(after, before) {
				t.Errorf("killed at %s: the backup before is not there any more", point)
			}
			if left := hidden(t, dir); (len(left) == 1) != (point != "backup.placed") {
				t.Errorf("killed at %s: beside the backup is %v", point, left)
			}
		}
		said, err = o.run(t, "", "backup", file, "--data", conf.Data)
		ended(t, said, err)
		if left := append(hidden(t, dir), hidden(t, conf.Data)...); len(left) > 0 {
			t.Errorf("a backup that went well left %v", left)
		}
		to := newConfig(t)
		if conf.DB != "" {
			to.DB = pgtest.NewSchema(t)
		}
		restored := opsMeta{bin, to}
		said, err = restored.run(t, "", "restore", file, "--data", to.Data)
		ended(t, said, err)
		restored.serves(t)
	})
}

// content is what is in a file.
func content(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// serves fails the test unless a server on what was restored has all of it.
func (o opsMeta) serves(t *testing.T) {
	t.Helper()
	if left := hidden(t, o.conf.Data); len(left) > 0 {
		t.Errorf("a restore that went well left %v", left)
	}
	said, err := o.run(t, "", "token", "create", "after", "--role", "admin", "--data", o.conf.Data)
	ended(t, said, err)
	p := launch(t, o.bin, o.conf)
	defer p.kill()
	p.login(t, strings.TrimSpace(said))
	page, err := p.client.Releases(t.Context(), api.ListOptions{})
	if err != nil || len(page.Items) != 1 || len(page.Items[0].Artifacts) != 1 {
		t.Fatalf("the server on what was restored has %+v, %v", page, err)
	}
	a := page.Items[0].Artifacts[0]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/releases/demo/"+a.Arch+"/demo-1.0.tar.gz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != a.Size {
		t.Errorf("the tarball that was restored: %s with %d bytes, want %d", resp.Status, resp.ContentLength, a.Size)
	}
}

// A restore may be killed at every moment: what is there then is nothing or
// everything, never a part, and in the end nothing else is left.
func TestARestoreThatIsKilledIsNothingOrEverything(t *testing.T) {
	bin := buildProgram(t, "faultpoints")
	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, packed(t, parts(t)...), 0o600); err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, conf server.Config) {
		o := opsMeta{bin, conf}
		points := []string{"restore.begun", "restore.unpacked", "restore.filled.sqlite", "restore.examined", "restore.content"}
		if conf.DB != "" {
			points = append(points, "restore.filled.postgres")
		}
		for _, point := range points {
			said, err := o.run(t, point, "restore", file, "--data", conf.Data)
			killed(t, said, err)
			if found := o.databases(t); len(found) > 0 {
				t.Errorf("killed at %s: there is a database: %v", point, found)
			}
		}
		said, err := o.run(t, "restore.placed", "restore", file, "--data", conf.Data)
		killed(t, said, err)
		if len(o.databases(t)) == 0 {
			t.Error("killed when all was in its place: there is no database")
		}
		said, err = o.run(t, "", "restore", file, "--data", conf.Data)
		if err == nil || !strings.Contains(said, "cannot restore: ") {
			t.Errorf("a restore over another one: %v, %s", err, said)
		}
		if conf.DB != "" {
			other := filepath.Join(t.TempDir(), "other")
			said, err = o.run(t, "", "restore", file, "--data", other)
			if left := tree(t, other); err == nil || !strings.Contains(said, "database is in use") || len(left) > 1 {
				t.Errorf("a restore into a database in use, from another directory: %v, %s, left %v", err, said, left)
			}
		}
		o.sweep(t)
		o.serves(t)
	})
}

// databases are what a server would take for its own.
func (o opsMeta) databases(t *testing.T) (found []string) {
	t.Helper()
	if o.conf.DB == "" {
		found, _ = filepath.Glob(filepath.Join(o.conf.Data, "ops-meta.db*"))
		return found
	}
	db, err := sql.Open("pgx", o.conf.DB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		found = append(found, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// sweep opens the directory once, which removes what killed commands left.
func (o opsMeta) sweep(t *testing.T) {
	t.Helper()
	said, err := o.run(t, "", "doctor", "--data", o.conf.Data)
	ended(t, said, err)
}
