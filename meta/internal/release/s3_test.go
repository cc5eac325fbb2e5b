package release_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// s3Address is a fresh bucket's address in the S3 server that scripts/with-s3
// starts.
func s3Address(t *testing.T) string {
	t.Helper()
	server := os.Getenv("OPS_META_TEST_S3")
	if server == "" {
		const how = "OPS_META_TEST_S3 is not set: run this test through scripts/with-s3"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("S3 IS NOT TESTED: " + how)
	}
	return server + "/artifacts-" + strings.ToLower(rand.Text()) + "/some/prefix?tls=false&create=true"
}

func openS3(t *testing.T, address string) *release.S3 {
	t.Helper()
	c, err := release.ParseS3(address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := release.OpenS3(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3IsABlobStore(t *testing.T) {
	testBlobs(t, openS3(t, s3Address(t)), t.TempDir())
}

func TestUploadsToS3AreCheckedLikeAllOthers(t *testing.T) {
	blobs := openS3(t, s3Address(t))
	incoming := t.TempDir()
	s, err := release.Open(release.Config{Blobs: blobs, Incoming: incoming})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(t.Context(), declared, strings.NewReader("nothing good")); err == nil {
		t.Fatal("took what is no tarball")
	}
	if len(kept(t, s)) != 0 {
		t.Fatal("kept what was refused")
	}
	noise := make([]byte, 17<<20) // more than one part
	_, _ = rand.Read(noise)
	a := receive(t, s, declared, tarball(t, control, member{name: "noise", mode: 0o644, body: string(noise)}))
	mustBeWhole(t, s, a.SHA256)
	mustBeEmpty(t, incoming)
}

func TestRedirectedClientsGetTheContentFromTheStore(t *testing.T) {
	blobs := openS3(t, s3Address(t))
	digest := put(t, blobs, t.TempDir(), []byte("0123456789"))
	address, err := blobs.Redirect(t.Context(), digest, "falcon-agent-5.1.3.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		status            int
		body, disposition string
	}
	get := func(address, byteRange string) answer {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if byteRange != "" {
			req.Header.Set("Range", byteRange)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return answer{resp.StatusCode, string(body), resp.Header.Get("Content-Disposition")}
	}
	if got := get(address, ""); got != (answer{http.StatusOK, "0123456789", `attachment; filename="falcon-agent-5.1.3.tar.gz"`}) {
		t.Errorf("got %+v", got)
	}
	if got := get(address, "bytes=7-"); got.status != http.StatusPartialContent || got.body != "789" {
		t.Errorf("resumed: got %+v", got)
	}
	u, _ := url.Parse(address)
	u.RawQuery = ""
	if got := get(u.String(), ""); got.status != http.StatusForbidden {
		t.Errorf("without its signature: got %+v; want 403", got)
	}
	other := put(t, blobs, t.TempDir(), []byte("other"))
	if got := get(strings.Replace(address, digest[2:], other[2:], 1), ""); got.status == http.StatusOK {
		t.Error("one address's signature opens another content")
	}
}

func TestS3OpensOnlyWhatIsThere(t *testing.T) {
	address := s3Address(t)
	openS3(t, address)
	cases := []struct{ name, address, says string }{
		{"no bucket", strings.Replace(address, "artifacts-", "absent-", 1) + "&create=false", "add create=true"},
		{"wrong secret", strings.Replace(address, "secret-for-tests", "guessed", 1), "Denied"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config, err := release.ParseS3(c.address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = release.OpenS3(t.Context(), config); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v; want an error with %q", err, c.says)
			}
		})
	}
}

func TestS3UploadEndsWithItsContext(t *testing.T) {
	s, err := release.Open(release.Config{Blobs: openS3(t, s3Address(t)), Incoming: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	content := tarball(t, control)
	_, err = s.Receive(ctx, declared, io.MultiReader(bytes.NewReader(content), onRead(cancel)))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v; want the upload to end", err)
	}
}

// onRead is an end of file that does something when it is reached.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestParseS3(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "env-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
	cases := []struct {
		name, address string
		want          release.S3Config
		says          string
	}{
		{
			"everything", "s3://k:s%2Fx@h:9000/b/p/q/?region=eu&tls=false&public=cdn:443&redirect=false&create=true",
			release.S3Config{Endpoint: "h:9000", Public: "cdn:443", Bucket: "b", Prefix: "p/q", Region: "eu", AccessKey: "k", SecretKey: "s/x", NoRedirect: true, Create: true},
			"",
		},
		{"credentials of the environment", "s3://h/b", release.S3Config{Endpoint: "h", Bucket: "b", AccessKey: "env-key", SecretKey: "env-secret", TLS: true}, ""},
		{"no bucket", "s3://k:hidden@h", release.S3Config{}, "names no bucket"},
		{"no secret", "s3://k@h/b", release.S3Config{}, "no credentials"},
		{"another scheme", "http://k:hidden@h/b", release.S3Config{}, "want s3://"},
		{"not an address", "s3://k:hidden%zz@h/b", release.S3Config{}, "want s3://"},
		{"unknown option", "s3://k:hidden@h/b?regoin=eu", release.S3Config{}, `unknown option "regoin"`},
		{"option that is neither true nor false", "s3://k:hidden@h/b?tls=maybe", release.S3Config{}, "tls"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := release.ParseS3(c.address)
			if c.says == "" {
				if err != nil || got != c.want {
					t.Fatalf("got %+v, %v; want %+v", got, err, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hidden") {
				t.Fatalf("got %v; want an error with %q and without the secret", err, c.says)
			}
		})
	}
}
