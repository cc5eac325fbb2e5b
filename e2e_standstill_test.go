package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// A machine with its whole data directory is put back to an earlier moment, so
// that nothing but hosts remembers what was said since. A real sidecar, which
// was restarted meanwhile, shows it, and its agent is not touched before somebody
// has seen the difference and said go.
func TestARestoredMachineIsFoundOutByARealSidecar(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED end-to-end test: -short")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	f := &realFleet{t: t, dir: t.TempDir(), bin: bin, listen: freeAddress(t)}
	f.log, err = os.Create(filepath.Join(f.dir, "meta.log"))
	f.must(err)
	t.Cleanup(func() { f.end(t) })
	f.startServer()
	f.publish("1.0.0", countingControl)
	f.publish("2.0.0", countingControl)
	f.startHost("host01")
	f.meta(0, "deploy", "demo", "1.0.0", "--now")
	f.awaitVersions(map[string]int{"1.0.0": 1})

	stopProcess(f.server, syscall.SIGTERM)
	data, before := filepath.Join(f.dir, "meta"), filepath.Join(f.dir, "before")
	f.must(os.CopyFS(before, os.DirFS(data)))
	f.startServer()
	f.meta(0, "deploy", "demo", "2.0.0", "--now")
	f.awaitVersions(map[string]int{"2.0.0": 1})

	host := f.hosts[0]
	stopProcess(f.server, syscall.SIGTERM)
	stopProcess(host.process, syscall.SIGTERM)
	f.must(os.RemoveAll(data))
	f.must(os.Rename(before, data))
	f.startServer()
	if st := read[api.StandstillReport](f, "standstill"); st.Active {
		t.Fatalf("known before any host has reported: %+v", st)
	}
	f.hosts = nil
	f.startHost(host.name)
	f.await("the standstill", func() bool { return read[api.StandstillReport](f, "standstill").Active })
	st := read[api.StandstillReport](f, "standstill")
	if !strings.Contains(st.Standstill.Reason, "a host that was told later things") {
		t.Errorf("it stands still because %s", st.Standstill.Reason)
	}
	f.await("the difference", func() bool {
		st = read[api.StandstillReport](f, "standstill")
		return len(st.Moves) == 1 && st.Moves[0].From == "2.0.0" && st.Moves[0].To == "1.0.0" && st.Unheard == 0
	})
	f.awaitVersions(map[string]int{"2.0.0": 1})
	f.wantStarts("1.0.0 2.0.0")

	f.meta(4, "standstill", "end")
	f.meta(4, "standstill", "end", "--seen", "something-else")
	f.wantStarts("1.0.0 2.0.0")
	f.meta(0, "standstill", "end", "--seen", st.Seen, "--reason", "looked at it")
	f.awaitVersions(map[string]int{"1.0.0": 1})
	f.wantStarts("1.0.0 2.0.0 1.0.0")
}
