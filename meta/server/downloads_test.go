package server_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func TestDownloads(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		packed := tarball(t, map[string]string{"data": strings.Repeat("some data ", 1000)})
		up := api.Upload{Agent: "my-agent", Version: "1.0-2", Arch: "linux_amd64", Tarball: bytes.NewReader(packed), Size: int64(len(packed))}
		a, err := r.admin.Upload(t.Context(), up)
		if err != nil {
			t.Fatal(err)
		}
		key := newKey(t)
		minisig := string(key.Sign(packed, trust.Release("my-agent", "1.0-2", "linux_amd64")))
		if signed, err := r.admin.PutSignature(t.Context(), a, strings.NewReader(minisig)); err != nil || signed.SignedBy != key.Public().ID() {
			t.Fatalf("signed: %+v, %v", signed, err)
		}
		sums := md5.Sum(packed)
		sum := sha256.Sum256(packed)
		const at = "/releases/my-agent/linux_amd64/my-agent-1.0-2.tar.gz"
		etag := `"` + hex.EncodeToString(sum[:]) + `"`
		for name, c := range map[string]struct {
			method, path string
			headers      []string
			status       int
			body         string
		}{
			"all of it":             {"GET", at, nil, 200, string(packed)},
			"its head":              {"HEAD", at, nil, 200, ""},
			"the rest":              {"GET", at, []string{"Range", "bytes=5-", "If-Range", etag}, 206, string(packed[5:])},
			"the rest of another":   {"GET", at, []string{"Range", "bytes=5-", "If-Range", `"other"`}, 200, string(packed)},
			"unchanged":             {"GET", at, []string{"If-None-Match", etag}, 304, ""},
			"md5":                   {"GET", at + ".md5", nil, 200, hex.EncodeToString(sums[:]) + "  my-agent-1.0-2.tar.gz\n"},
			"sha256":                {"GET", at + ".sha256", nil, 200, hex.EncodeToString(sum[:]) + "  my-agent-1.0-2.tar.gz\n"},
			"signature":             {"GET", at + ".minisig", nil, 200, minisig},
			"another arch":          {"GET", "/releases/my-agent/linux_arm64/my-agent-1.0-2.tar.gz", nil, 404, "404 page not found\n"},
			"another agent's":       {"GET", "/releases/my/linux_amd64/my-agent-1.0-2.tar.gz", nil, 404, "404 page not found\n"},
			"the database":          {"GET", "/releases/my-agent/linux_amd64/..%2f..%2fops-meta.db", nil, 404, "404 page not found\n"},
			"a version of nobody's": {"GET", "/releases/my-agent/linux_amd64/my-agent-2.tar.gz", nil, 404, "404 page not found\n"},
		} {
			got := r.raw(t, c.method, c.path, nil, append(c.headers, "Accept-Encoding", "identity")...)
			if got.StatusCode != c.status || string(got.body) != c.body {
				t.Errorf("%s: got %d, %d bytes, want %d, %d bytes", name, got.StatusCode, len(got.body), c.status, len(c.body))
			}
		}
		again := up
		again.Tarball = bytes.NewReader(packed)
		if same, err := r.admin.Upload(t.Context(), again); err != nil || same.Signature == "" || same.SHA256 != a.SHA256 {
			t.Errorf("the same content again: got %+v, %v", same, err)
		}
		again.Tarball, again.Size = bytes.NewReader(tarball(t, map[string]string{"other": "content"})), 0
		p := problem(second(r.admin.Upload(t.Context(), again)))
		if p == nil || p.Status != http.StatusConflict || p.Type != "urn:ops-meta:immutable" || !strings.Contains(p.Hint, "new version") {
			t.Errorf("other content under the same version: got %+v", p)
		}
		again.Tarball, again.SHA256 = bytes.NewReader(packed), strings.Repeat("0", 64)
		if p := problem(second(r.admin.Upload(t.Context(), again))); p == nil || p.Status != http.StatusBadRequest {
			t.Errorf("another digest than announced: got %+v", p)
		}
	})
}

func TestExternalArtifacts(t *testing.T) {
	r := start(t, newConfig(t))
	packed := tarball(t, nil)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/mirror/linux_amd64/demo-1.0.tar.gz" {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(packed)
	}))
	defer mirror.Close()
	a, err := r.admin.RegisterArtifact(t.Context(), "demo", "1.0", api.NewArtifact{Arch: "linux_amd64", External: mirror.URL + "/mirror/"})
	sum := sha256.Sum256(packed)
	if err != nil || a.External != mirror.URL+"/mirror" || a.SHA256 != hex.EncodeToString(sum[:]) {
		t.Fatalf("got %+v, %v", a, err)
	}
	if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz", nil); got.StatusCode != 200 || !bytes.Equal(got.body, packed) {
		t.Errorf("through our address: got %d, %d bytes", got.StatusCode, len(got.body))
	}
	p := problem(second(r.admin.RegisterArtifact(t.Context(), "demo", "2.0", api.NewArtifact{Arch: "linux_amd64", External: mirror.URL})))
	if p == nil || p.Status != http.StatusBadRequest || p.Hint == "" {
		t.Errorf("one that is not there: got %+v", p)
	}
	if _, err := r.admin.Release(t.Context(), "demo", "2.0"); err == nil {
		t.Error("a release was made of what could not be fetched")
	}
}

func TestArtifactsInS3AreFetchedThere(t *testing.T) {
	address := os.Getenv("OPS_META_TEST_S3")
	if address == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("OPS_META_TEST_S3 is not set: run the tests through scripts/with-s3")
		}
		t.Skip("NOT TESTED WITH S3: run the tests through scripts/with-s3")
	}
	conf := newConfig(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("tls", "false")
	q.Set("create", "true")
	u.Path, u.RawQuery = "/server-test/of-this", q.Encode()
	conf.Artifacts = u.String()
	r := start(t, conf)
	r.publish(t, "demo", "1.0")
	const at = "/releases/demo/linux_amd64/demo-1.0.tar.gz"
	r.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	there := r.raw(t, "GET", at, nil)
	if there.StatusCode != http.StatusFound || !strings.Contains(there.Header.Get("Location"), "X-Amz-Signature") {
		t.Fatalf("got %d to %s, want a redirect to a signed address", there.StatusCode, there.Header.Get("Location"))
	}
	resp, err := http.Get(there.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the signed address answers %s", resp.Status)
	}
}

func TestUnusedArtifactsArePruned(t *testing.T) {
	r := start(t, newConfig(t))
	r.publish(t, "demo", "1.0")
	r.publish(t, "demo", "2.0")
	r.deploy(t, "demo", "2.0")
	for _, dry := range []bool{true, false} {
		p, err := r.admin.PruneArtifacts(t.Context(), 0, dry)
		if err != nil || len(p.Artifacts) != 1 || p.Artifacts[0].Version != "1.0" || p.Bytes == 0 || p.DryRun != dry {
			t.Fatalf("dry %v: got %+v, %v", dry, p, err)
		}
		if _, err := r.admin.Release(t.Context(), "demo", "1.0"); (err == nil) != dry {
			t.Errorf("dry %v: the release is there: %v", dry, err == nil)
		}
	}
	if _, err := r.admin.Release(t.Context(), "demo", "2.0"); err != nil {
		t.Error("what is deployed was pruned")
	}
}
