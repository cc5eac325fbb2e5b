package takeover_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
)

// begin boots a host with v0 and falcon, and returns falcon's process.
func (h *host) begin(fault string) (agent int) {
	h.t.Helper()
	h.server.want(h.server.falcon("1.0.0"), h.server.release(v0, program(h.t, v0)))
	h.boot(fault)
	h.awaitVersion(v0, meta.PhaseIdle)
	return h.awaitAgent()
}

// tell has the host told to be another version of the sidecar.
func (h *host) tell(version string, program []byte) {
	h.t.Helper()
	h.server.want(h.server.falcon("1.0.0"), h.server.release(version, program))
}

func (h *host) run(args ...string) string {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.dir, self), append([]string{"-c", filepath.Join(h.dir, "cfg.json")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestTheSidecarBecomesAnotherVersionInItsProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	pid, starts := h.process()
	for _, v := range []string{v1, v2} { // twice in a row
		h.tell(v, program(t, v))
		h.awaitVersion(v, meta.PhaseIdle)
		h.checkState(v)
		h.checkAgent(agent)
		if now, again := h.process(); now != pid || again != starts {
			t.Fatalf("%s runs in process %d after %d starts; %s was %d after %d", v, now, again, v0, pid, starts)
		}
		if out := h.run("status"); !strings.HasPrefix(out, "ops-updater "+v+" ") {
			t.Errorf("status: %s", out)
		}
		if out := h.run("--version"); out != v+"\n" { // by what is installed
			t.Errorf("what is installed says that it is %s", out)
		}
		version, err := os.ReadFile(filepath.Join(h.dir, "work/ops-updater/.version"))
		if err != nil || string(version) != v {
			t.Errorf("I1: .version names %s (%v)", version, err)
		}
	}
	h.halt()
	h.boot("") // whoever starts what is installed
	h.awaitVersion(v2, meta.PhaseIdle)
	h.checkAgent(agent)
}
