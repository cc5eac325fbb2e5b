package updater_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// told is what a control script finds around it.
const told = `{ umask; ulimit -f; [ "$(ulimit -n)" -ge 1024 ] && echo enough files; grep -E '^Sig(Blk|Ign)' /proc/self/status; pwd; env | sort; } >$agent/var-told 2>&1; ls -l /proc/self/fd | grep -c /dev/null >>$agent/var-told`

// modesOf are the modes of everything below dir that does not change by itself.
func modesOf(t *testing.T, dir string) string {
	t.Helper()
	var modes strings.Builder
	must(t, filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode()&os.ModeSocket == 0 {
			modes.WriteString(fi.Mode().String() + " " + strings.TrimPrefix(path, dir) + "\n")
		}
		return err
	}))
	return modes.String()
}

// runIn runs the real program once, started through words in its own
// directory, and returns the modes on disk and what control start found.
func runIn(t *testing.T, around ...string) (modes, found string) {
	t.Helper()
	bin, err := faultyBinary()
	must(t, err)
	dir := t.TempDir()
	agenttest.CleanUp(t, dir)
	origin, server := newOrigin(t), newServer(t)
	a := origin.publish(t, "falcon", "1.0.0", agenttest.Habits{BeforeStart: told})
	server.reply = []meta.DesiredAgent{a}
	write(t, filepath.Join(dir, "cfg.json"), `{"server":"`+server.URL+`","probation":"100ms","work_dir":"agents"}`)
	must(t, os.Mkdir(filepath.Join(dir, "gone"), 0o755))
	cmd := exec.Command(around[0], append(around[1:], bin, "-c", filepath.Join(dir, "cfg.json"), "once")...)
	cmd.Dir = filepath.Join(dir, "gone")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "agents/falcon/var-told"))
	must(t, err)
	noted(t, filepath.Join(dir, "agents/falcon"), 1) // it has made its files
	_ = os.Remove(filepath.Join(dir, "agents/falcon/1.0.0/var/app.log"))
	return modesOf(t, dir), strings.ReplaceAll(string(text), dir, "")
}

func TestWhoeverStartsTheSidecarChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts sidecars")
	}
	modes, found := runIn(t, "sh", "-c", `exec "$@"`, "-")
	for _, want := range []string{"0022\n", "unlimited\n", "enough files\n", "SigBlk:\t0000000000000000\n"} {
		if !strings.Contains(found, want) {
			t.Fatalf("control start finds no %q:\n%s", want, found)
		}
	}
	for name, script := range map[string]string{
		"umask 0777":          `umask 0777; exec "$@"`,
		"umask 0":             `umask 0; exec "$@"`,
		"small files":         `ulimit -S -f 1; exec "$@"`,
		"few files":           `ulimit -S -n 64; exec "$@"`,
		"ignored signals":     `trap '' HUP INT QUIT TERM CHLD USR1 TSTP PIPE; exec "$@"`,
		"blocked signals":     `exec env --block-signal=TERM --block-signal=CHLD --block-signal=HUP "$@"`,
		"nothing open":        `exec "$@" <&- >&- 2>&-`,
		"a directory removed": `rmdir "$PWD"; exec "$@"`,
		"odd environment":     `export HOME= GODEBUG=gctrace=0 GOGC=off LD_PRELOAD=/nowhere.so IFS=/ CDPATH=/ BASH_ENV=/x ENV=/x TMPDIR=/nowhere; exec "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			m, f := runIn(t, "sh", "-c", script, "-")
			if name == "a directory removed" {
				m += "drwxr-xr-x /gone\n"
			}
			if sorted(m) != sorted(modes) {
				t.Errorf("on disk:\n%s\nwant:\n%s", m, modes)
			}
			if f != found {
				t.Errorf("control start finds:\n%s\nwant:\n%s", f, found)
			}
		})
	}
}

func sorted(lines string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(lines, "\n")), "\n")
}
