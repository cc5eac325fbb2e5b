package updater

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// A process that has no descriptor left for a moment cannot read its files; they are as
// good as before.
func TestWhatCannotBeReadForWantOfDescriptorsIsNotGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := saveJSON(path, 42); err != nil {
		t.Fatal(err)
	}
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	lift := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &usual) }
	defer lift()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	if _, err := plainfile.Read(path, 10); !plainfile.IsPassing(err) {
		t.Fatalf("without descriptors: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, lift)
	read := 0
	if err := loadJSON(path, ownState, &read); err != nil || read != 42 {
		t.Errorf("%d, %v", read, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: want nothing set aside", entries, err)
	}
}
