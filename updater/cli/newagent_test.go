package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// script is what new-agent writes for an agent of that name.
func script(t *testing.T, name string) (path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if r := call(t, "new-agent", name, "--dir", dir); r.code != 0 || !strings.HasPrefix(r.out, "wrote "+filepath.Join(dir, "control")+"\n") {
		t.Fatalf("%+v", r)
	}
	return filepath.Join(dir, "control")
}

func TestTheScriptOfANewAgent(t *testing.T) {
	path := script(t, "falcon-agent")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Fatalf("%v %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "NAME") || !strings.Contains(string(text), "./falcon-agent;") {
		t.Errorf("it is not of its agent:\n%s", text)
	}
	for _, verb := range []string{"start", "stop", "restart", "status", "pid", "health"} { // as case labels, which is where the sidecar looks
		if !regexp.MustCompile(`(?m)^` + verb + `\)`).Match(text) {
			t.Errorf("it has no %s", verb)
		}
	}
}

func TestShellsAndShellcheckTakeTheScript(t *testing.T) {
	path := script(t, "a.b_c+d-1")
	tried := 0
	for _, check := range [][]string{{"shellcheck", path}, {"sh", "-n", path}, {"dash", "-n", path}, {"bash", "--posix", "-n", path}} {
		if _, err := exec.LookPath(check[0]); err != nil {
			t.Logf("NOT TESTED with %s: it is not installed", check[0])
			continue
		}
		tried++
		if out, err := exec.CommandContext(t.Context(), check[0], check[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", check[0], err, out)
		}
	}
	if tried == 0 {
		t.Error("no shell tried it")
	}
}

// What somebody wrote is never replaced.
func TestAScriptThatIsThereStays(t *testing.T) {
	path := script(t, "probe")
	write(t, path, "mine")
	r := call(t, "new-agent", "probe", "--dir", filepath.Dir(path))
	if text, _ := os.ReadFile(path); r.code != 1 || !strings.Contains(r.err, "it is there already\nhint: move it away, or name another directory with --dir") || string(text) != "mine" {
		t.Errorf("%+v, %s", r, text)
	}
}
