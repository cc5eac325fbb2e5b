package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/job"
)

// dirWith is an agent's directory with one file that its user wrote.
func dirWith(t *testing.T, file string, data []byte) agent.Dir {
	t.Helper()
	d := agent.Dir{Path: t.TempDir(), Name: "falcon"}
	if err := os.WriteFile(filepath.Join(d.Path, file), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// FuzzVersionFile: what .version names is a version, in one directory, or an error.
func FuzzVersionFile(f *testing.F) {
	for _, s := range []string{"1.0.0", "1.0.0\n", "", "../1", "1.0.0\n2.0.0", "\x00\x00", " 1.0 ", strings.Repeat("1", 5000)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dirWith(t, ".version", data)
		version, err := d.Current()
		if err != nil {
			if len(err.Error()) > 1<<10 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		if version == "" {
			if meta.ValidName(strings.TrimSpace(string(data))) {
				t.Fatalf("%q is a version, and was taken for none", data)
			}
			return
		}
		if !meta.ValidName(version) || strings.TrimSpace(string(data)) != version {
			t.Fatalf("%q names %q", data, version)
		}
	})
}

// FuzzRunNote: whatever the note in .control.run says, nothing runs that is not a
// process of that birth.
func FuzzRunNote(f *testing.F) {
	f.Add(fmt.Appendf(nil, `{"verb":"start","version":"1","script":{"pid":%d,"start":"1"},"owner":{"pid":1}}`, os.Getpid()))
	f.Add([]byte(`{"script":{"pid":-1}}`))
	f.Add([]byte(`{"script":{"pid":1}}`))
	f.Add([]byte(`[`))
	f.Add([]byte(`{"verb":"start","since":"0001-01-01T00:00:00Z","script":{"pid":999999999}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dirWith(t, agent.RunFile, data)
		_, pid, running := agent.RunIn(d)
		if running && pid <= 0 {
			t.Fatalf("%q runs as pid %d", data, pid)
		}
	})
}

// FuzzOwner: an owner that the agent's user wrote keeps nobody away unless a process
// of that birth lives.
func FuzzOwner(f *testing.F) {
	f.Add([]byte(`{"process":{"pid":1,"birth":"1"},"varDir":"/x"}`))
	f.Add([]byte(`{"process":{"pid":-7}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := dirWith(t, agent.OwnerFile, data)
		read, err := agent.OwnerIn(d)
		other := agent.ForeignIn(d, job.Owner{})
		if other != nil && (err != nil || !read.Process.Alive() || read.Process.Pid <= 0) {
			t.Fatalf("%q keeps others away: %+v, %v", data, other, err)
		}
	})
}

// FuzzStartNote: a note that the agent's user wrote is read or is none.
func FuzzStartNote(f *testing.F) {
	f.Add([]byte(`{"version":"1","pid":1,"boot":"x","prior":{"version":"0","pid":2}}`))
	f.Add([]byte(`{"pid":"1"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := agent.StartIn(dirWith(t, agent.StartFile, data))
		w := process.Witness{Note: n, Boot: process.Boot(), UID: os.Geteuid(), Look: process.Look}
		if p, alive := process.Look(os.Getpid()); alive && w.IsNoted(p) && n.Pid != os.Getpid() {
			t.Fatalf("%q takes this process for noted: %+v", data, n)
		}
	})
}
