package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

func TestWhatCannotBeRunIsKnownWithoutRunningIt(t *testing.T) {
	dir := t.TempDir()
	program := func(machine byte, loader string) string {
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Skipf("SKIPPED: there is no /proc on this system: %v", err)
		}
		header := make([]byte, 64+56)
		copy(header, self[:64])
		header[18], header[19] = machine, 0
		header[32], header[54], header[56], header[57] = 64, 56, 1, 0 // one segment, after the header
		header[64] = 3                                                // that names the loader
		header[64+8], header[64+32] = 64+56, byte(len(loader)+1)
		return string(header) + loader + "\x00"
	}
	native := func() byte { self, _ := os.ReadFile("/proc/self/exe"); return self[18] }()
	place := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		agenttest.Write(t, path, text, mode)
		return path
	}
	cases := []struct {
		name, control string
		code          string
		host          bool
		says          string
	}{
		{"sound", agenttest.Habits{}.Script(), "", false, ""},
		{"sound, by env", strings.Replace(agenttest.Habits{}.Script(), "/bin/sh", "/usr/bin/env sh", 1), "", false, ""},
		{"a program for another machine", program(8, ""), control.CodeWrongMachine, false, "another kind of machine"},
		{"a program whose loader is missing", program(native, "/lib/ld-nowhere.so.1"), control.CodeNoInterpreter, true, "/lib/ld-nowhere.so.1"},
		{"an interpreter for another machine", "#!" + place("alien", program(8, ""), 0o755) + "\n", control.CodeWrongMachine, true, "alien"},
		{"an interpreter that may not be executed", "#!" + place("plain", "#!/bin/sh\n", 0o644) + "\n", control.CodeNotExecutable, true, "plain: it is not executable"},
		{"an interpreter whose interpreter is missing", "#!" + place("chained", "#!/nowhere/sh\n", 0o755) + "\n", control.CodeNoInterpreter, true, "/nowhere/sh"},
		{"scripts in a circle", "#!" + place("circle", "#!"+filepath.Join(dir, "circle")+"\n", 0o755) + "\n", control.CodeNoScript, false, "each other"},
		{"an empty file", "\n", control.CodeNoScript, false, "#!/bin/sh"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, agenttest.Habits{Control: c.control})
			err := control.Runnable(filepath.Join(r.Dir.Path, "1.0.0", "control"), r.Env)
			u, is := errors.AsType[*control.Unrunnable](err)
			switch {
			case c.code == "" && err != nil:
				t.Fatalf("got %v; want none", err)
			case c.code != "" && (!is || u.Code != c.code || u.Host != c.host || !strings.Contains(err.Error(), c.says)):
				t.Fatalf("got %+v, %v; want code %s, the host's fault %v, saying %q", u, err, c.code, c.host, c.says)
			}
			if _, err := r.Dir.Control(t.Context(), agent.ControlJob{Version: "1.0.0", Verb: "status", Timeout: 20 * time.Second, Env: r.Env}); (err == nil) != (c.code == "") {
				t.Errorf("run all the same: %v", err)
			}
		})
	}
}

func TestAScriptThatIsStillBeingWrittenIsWaitedForAndIsTheHostsFault(t *testing.T) {
	r := newRunner(t, agenttest.Habits{})
	f, err := os.OpenFile(filepath.Join(r.Dir.Path, "1.0.0/control"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, is := errors.AsType[*control.Unrunnable](r.CanRun(t.Context(), "1.0.0"))
	if !is || !u.Host || u.Code != control.CodeScriptBusy {
		t.Fatalf("got %+v; want that it is busy", u)
	}
	closed := time.AfterFunc(300*time.Millisecond, func() { _ = f.Close() })
	defer closed.Stop()
	if err := r.CanRun(t.Context(), "1.0.0"); err != nil {
		t.Fatal(err)
	}
}
