package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// newKey makes a key that releases are signed with.
func newKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignatureOfSomethingElseIsRefused(t *testing.T) {
	r := start(t, newConfig(t))
	packed := tarball(t, nil)
	a, err := r.admin.Upload(t.Context(), api.Upload{Agent: "demo", Version: "1.0", Arch: "linux_amd64", Tarball: bytes.NewReader(packed)})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	good := string(key.Sign(packed, trust.Release("demo", "1.0", "linux_amd64")))
	lines := strings.Split(good, "\n")
	cases := map[string]struct{ file, says string }{
		"another agent":         {string(key.Sign(packed, trust.Release("demon", "1.0", "linux_amd64"))), "it is of demon 1.0 for linux_amd64"},
		"another version":       {string(key.Sign(packed, trust.Release("demo", "1.0.1", "linux_amd64"))), "it is of demo 1.0.1 for linux_amd64"},
		"another arch":          {string(key.Sign(packed, trust.Release("demo", "1.0", "linux_arm64"))), "it is of demo 1.0 for linux_arm64"},
		"a configuration":       {string(key.Sign(packed, trust.Config("demo", "1.0"))), "it is of 1.0 of demo"},
		"a list of keys":        {string(key.Sign(packed, trust.List(7))), "list of keys"},
		"a reply":               {string(key.Sign(packed, trust.Reply())), "a reply"},
		"a public key":          {key.Public().File(), "not a signature of minisign"},
		"nothing":               {"", "not a signature of minisign"},
		"a comment of nothing":  {strings.Replace(good, lines[2], "trusted comment: timestamp:1\tfile:demo.tar.gz", 1), "does not say what was signed"},
		"a cut one":             {strings.Join(lines[:3], "\n"), "not a signature of minisign"},
		"an endless comment":    {strings.Replace(good, "arch=linux_amd64", "arch=linux_amd64 "+strings.Repeat("a", trust.MaxSignature), 1), "is larger than 4096 bytes"},
		"text of the old check": {"untrusted comment: x\nA\ntrusted comment: y\nB\n", "not a signature of minisign"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := problem(second(r.admin.PutSignature(t.Context(), a, strings.NewReader(c.file))))
			if p == nil || p.Status != http.StatusBadRequest && p.Status != http.StatusRequestEntityTooLarge || !strings.Contains(p.Error(), c.says) {
				t.Errorf("got %v, want %q", p, c.says)
			}
			if p != nil && p.Status == http.StatusBadRequest && !strings.Contains(p.Hint, "name=demo version=1.0 arch=linux_amd64") {
				t.Errorf("the hint does not say how it is signed: %q", p.Hint)
			}
		})
	}
	if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz.minisig", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("without a signature: %d %s", got.StatusCode, got.body)
	}
	if p := problem(second(r.admin.PutSignature(t.Context(), api.Artifact{Agent: "demo", Version: "1.0", Arch: "linux_arm64"}, bytes.NewReader(key.Sign(packed, trust.Release("demo", "1.0", "linux_arm64")))))); p == nil || p.Status != http.StatusNotFound {
		t.Errorf("for an artifact that is not there: %v", p)
	}
}

// Signatures are kept: by a second upload, another key's, pruning, and a backup.
func TestSignatureStays(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		packed := tarball(t, nil)
		up := func() api.Artifact {
			t.Helper()
			a, err := r.admin.Upload(t.Context(), api.Upload{Agent: "demo", Version: "1.0", Arch: "linux_amd64", Tarball: bytes.NewReader(packed)})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		a := up()
		r.deploy(t, "demo", "1.0")
		served := func(what, want string) {
			t.Helper()
			if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz.minisig", nil); got.StatusCode != http.StatusOK || string(got.body) != want {
				t.Errorf("%s: %d %q, want %q", what, got.StatusCode, got.body, want)
			}
		}
		for _, key := range []trust.PrivateKey{newKey(t), newKey(t)} { // the second takes the first's place
			file := string(key.Sign(packed, trust.Release("demo", "1.0", "linux_amd64")))
			signed, err := r.admin.PutSignature(t.Context(), a, strings.NewReader(file))
			if err != nil || signed.Signature != file || signed.SignedBy != key.Public().ID() {
				t.Fatalf("got %+v, %v", signed, err)
			}
			served("signed", file)
			if same := up(); same.Signature != file || same.SignedBy != key.Public().ID() {
				t.Errorf("uploaded again: %+v", same)
			}
			if _, err := r.admin.PruneArtifacts(t.Context(), 0, false); err != nil {
				t.Fatal(err)
			}
			served("pruned", file)
		}
		rel, err := r.admin.Release(t.Context(), "demo", "1.0")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := r.admin.Audit(t.Context(), api.ListOptions{})
		if err != nil || !slices.ContainsFunc(lines.Items, func(l api.AuditEntry) bool { return strings.Contains(string(l.After), rel.Artifacts[0].SignedBy) }) {
			t.Errorf("no line of the audit log has key %s: %v", rel.Artifacts[0].SignedBy, err)
		}
		var archive bytes.Buffer
		if err := r.admin.Backup(t.Context(), &archive); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		again := newConfig(t)
		if conf.DB != "" {
			again.DB = pgtest.NewSchema(t)
		}
		if _, err := server.Restore(t.Context(), again, &archive); err != nil {
			t.Fatal(err)
		}
		r = start(t, again)
		served("restored", rel.Artifacts[0].Signature)
	})
}

// elsewhere is a file server, by path.
func elsewhere(t *testing.T, files map[string][]byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if file, there := files[req.URL.Path]; there {
			_, _ = w.Write(file)
			return
		}
		http.NotFound(w, req)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestSignatureBesideATarballElsewhereIsTaken(t *testing.T) {
	packed, key := tarball(t, nil), newKey(t)
	good := key.Sign(packed, trust.Release("demo", "1.0", "linux_amd64"))
	cases := map[string]struct {
		file    []byte // nil: there is none
		warning string
	}{
		"a good one":        {good, ""},
		"none":              {nil, ""},
		"of another":        {key.Sign(packed, trust.Release("demo", "2.0", "linux_amd64")), "it is of demo 2.0"},
		"a page":            {[]byte("<html>sign in</html>"), "not a signature of minisign"},
		"endless":           {bytes.Repeat([]byte("a"), 1<<20), "over 4096 bytes"},
		"with terminal art": {[]byte("\x1b[2Juntrusted comment: \x1b[31m\n"), "not a signature of minisign"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := start(t, newConfig(t))
			files := map[string][]byte{"/m/linux_amd64/demo-1.0.tar.gz": packed}
			if c.file != nil {
				files["/m/linux_amd64/demo-1.0.tar.gz.minisig"] = c.file
			}
			at := elsewhere(t, files)
			want := ""
			if c.file != nil && c.warning == "" {
				want = string(c.file)
			}
			for _, n := range []api.NewArtifact{
				{Arch: "linux_amd64", External: at + "/m"},
				{Arch: "linux_amd64", From: at + "/m/linux_amd64/demo-1.0.tar.gz?token=s3cr3t"},
			} {
				a, err := r.admin.RegisterArtifact(t.Context(), "demo", "1.0", n)
				if err != nil || a.Signature != want || a.SignedElsewhere != (want != "" && n.From == "") {
					t.Fatalf("got %+v, %v", a, err)
				}
				if said := strings.Join(a.Warnings, "; "); !strings.Contains(said, c.warning) || (said == "") != (c.warning == "") || strings.ContainsAny(said, "\x1b\n") || strings.Contains(said, "s3cr3t") {
					t.Errorf("warnings %q, want %q", said, c.warning)
				}
				if err := r.admin.DeleteRelease(t.Context(), "demo", "1.0"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A signature that only the server has is of use to hosts only there, so they are sent
// to the tarball by the server.
func TestTarballElsewhereThatIsSignedHere(t *testing.T) {
	r := start(t, openConfig(t, newConfig(t)))
	packed, key := tarball(t, nil), newKey(t)
	at := elsewhere(t, map[string][]byte{"/linux_amd64/demo-1.0.tar.gz": packed})
	a, err := r.admin.RegisterArtifact(t.Context(), "demo", "1.0", api.NewArtifact{Arch: "linux_amd64", External: at})
	if err != nil {
		t.Fatal(err)
	}
	r.deploy(t, "demo", "1.0")
	told := func() meta.DesiredAgent {
		t.Helper()
		reply, _ := r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", Protocol: meta.Protocol})
		if len(reply.DesiredAgents) != 1 {
			t.Fatalf("told %+v", reply)
		}
		return reply.DesiredAgents[0]
	}
	if d := told(); d.Tarball != at {
		t.Errorf("without a signature the host is told %s, want %s", d.Tarball, at)
	}
	file := key.Sign(packed, trust.Release("demo", "1.0", "linux_amd64"))
	if _, err := r.admin.PutSignature(t.Context(), a, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	url := told().TarballURL(meta.DialectV1, "linux_amd64")
	for suffix, want := range map[string][]byte{"": packed, trust.Extension: file} {
		resp, err := http.Get(url + suffix)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(body, want) {
			t.Errorf("%s%s: %s, %d bytes, want %d", url, suffix, resp.Status, len(body), len(want))
		}
	}
}

// What the server serves is what Debian's minisign checks, and what that signs is
// what the server takes.
func TestSignatureOfDebiansMinisign(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("minisign is not installed")
		}
		t.Skip("NOT TESTED WITH minisign: it is not installed")
	}
	r := start(t, newConfig(t))
	dir, packed := t.TempDir(), tarball(t, nil)
	file := filepath.Join(dir, "demo-1.0.tar.gz")
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %q: %v\n%s", args, err, out)
		}
	}
	run("-G", "-W", "-p", "k.pub", "-s", "k.key")
	run("-S", "-H", "-s", "k.key", "-m", file, "-t", trust.Release("demo", "1.0", "linux_amd64").Comment())
	signature, err := os.ReadFile(file + trust.Extension)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.admin.Upload(t.Context(), api.Upload{Agent: "demo", Version: "1.0", Arch: "linux_amd64", Tarball: bytes.NewReader(packed)})
	if err == nil {
		a, err = r.admin.PutSignature(t.Context(), a, bytes.NewReader(signature))
	}
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, "k.pub"))
	if err != nil || !strings.Contains(string(public), strings.TrimLeft(a.SignedBy, "0")) {
		t.Errorf("signed by %s, and minisign's key is %s, %v", a.SignedBy, public, err)
	}
	served := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz.minisig", nil)
	if err := os.WriteFile(file+trust.Extension, served.body, 0o600); err != nil {
		t.Fatal(err)
	}
	run("-V", "-p", "k.pub", "-m", file)
}
