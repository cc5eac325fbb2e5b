package release_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// fetchingStore is openStore with its own rules for fetching.
func fetchingStore(t *testing.T, root string, f release.Fetch) *release.Store {
	t.Helper()
	blobs, err := release.OpenDir(filepath.Join(root, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := release.Open(release.Config{Blobs: blobs, Incoming: filepath.Join(root, "incoming"), MaxTarball: 1 << 20, Fetch: f})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mirror serves a tarball under a path.
func mirror(t *testing.T, path string, content []byte) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRegisterHashesAndKeepsNothing(t *testing.T) {
	content := tarball(t, control)
	root := t.TempDir()
	s := fetchingStore(t, root, release.Fetch{})
	base := mirror(t, "/falcon/linux_amd64/falcon-agent-5.1.3.tar.gz", content) + "/falcon"
	a, err := s.Register(t.Context(), declared, base+"/")
	if err != nil {
		t.Fatal(err)
	}
	want := receive(t, openStore(t, t.TempDir()), declared, content)
	if a.SHA256 != want.SHA256 || a.MD5 != want.MD5 || a.Size != want.Size || a.External != base {
		t.Fatalf("got %+v; want the digests of %+v and the base %s", a, want, base)
	}
	if len(kept(t, s)) != 0 {
		t.Fatal("content that is hosted elsewhere was kept")
	}
	mustBeEmpty(t, filepath.Join(root, "incoming"))
}

func TestAdoptLooksWhereOlderServersHadTheirTarballs(t *testing.T) {
	scripts := tarball(t, control)
	program := tarball(t, control, member{name: "bin", mode: 0o755, body: program(2, 1, 0, 183)})
	cases := []struct {
		name   string
		served map[string][]byte
		want   []string // arches
	}{
		{"below each arch", map[string][]byte{"/old/linux_amd64/": scripts, "/old/darwin_arm64/": scripts, "/old/": program}, []string{"linux_amd64", "darwin_arm64"}},
		{"without an arch, told from its programs", map[string][]byte{"/old/": program}, []string{"linux_arm64"}},
		{"without an arch, only scripts", map[string][]byte{"/old/": scripts}, []string{"linux_amd64"}},
		{"one arch is broken", map[string][]byte{"/old/linux_amd64/": scripts, "/old/linux_arm64/": []byte("junk")}, []string{"linux_amd64"}},
		{"nowhere", map[string][]byte{"/other/": scripts}, nil},
		{"broken", map[string][]byte{"/old/": []byte("junk")}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			for dir, content := range c.served {
				mux.HandleFunc("GET "+dir+"falcon-agent-5.1.3.tar.gz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
			}
			srv := httptest.NewServer(mux)
			t.Cleanup(srv.Close)
			s := fetchingStore(t, t.TempDir(), release.Fetch{})
			got, err := s.Adopt(t.Context(), declared, []string{srv.URL + "/gone", srv.URL + "/old/"})
			var arches []string
			for _, a := range got {
				arches = append(arches, a.Arch)
				if a.External != "" {
					t.Errorf("%+v is not kept here", a)
				}
				mustBeWhole(t, s, a.SHA256)
			}
			if !slices.Equal(arches, c.want) || (err == nil) != (len(c.want) > 0) {
				t.Fatalf("got %v, %v; want %v", arches, err, c.want)
			}
		})
	}
}

func TestFetchingIsGuarded(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits for timeouts")
	}
	good := tarball(t, control)
	target := mirror(t, "/x/linux_amd64/falcon-agent-5.1.3.tar.gz", good)
	handler := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	redirect := func(to string) string {
		return handler(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusFound)
		})
	}
	stalling := handler(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(good[:20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	silent := handler(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	endless := handler(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	var looping string
	looping = handler(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, looping+r.URL.Path, http.StatusFound)
	})
	loopback := release.Fetch{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	quick := release.Fetch{StallTimeout: 2 * time.Second}
	port := target[strings.LastIndex(target, ":"):]
	cases := []struct {
		name string
		rule release.Fetch
		base string
		kind api.ErrorKind
		says string
	}{
		{"not there", release.Fetch{}, target + "/y", api.KindInvalid, "404"},
		{"denied address", loopback, target + "/x", api.KindInvalid, "must not connect"},
		{"denied address behind a name", loopback, "http://localhost" + port + "/x", api.KindInvalid, "must not connect"},
		{"denied address as IPv6", loopback, "http://[::ffff:127.0.0.1]" + port + "/x", api.KindInvalid, "must not connect"},
		{"a cloud's credentials", release.Fetch{}, "http://169.254.169.254/latest", api.KindInvalid, "must not connect"},
		{"redirected to a cloud's credentials", release.Fetch{}, redirect("http://169.254.169.254"), api.KindInvalid, "must not connect"},
		{"redirected to another scheme", release.Fetch{}, redirect("file:///etc"), api.KindInvalid, "http or https"},
		{"redirected for ever", release.Fetch{}, looping, api.KindInvalid, "redirects"},
		{"another scheme", release.Fetch{}, "ftp://x/y", api.KindInvalid, "http or https"},
		{"credentials in the address", release.Fetch{}, "http://u:p@x/y", api.KindInvalid, "credentials"},
		{"stalls in the middle", quick, stalling, api.KindInvalid, "stalled"},
		{"never answers", quick, silent, api.KindInvalid, "timeout"},
		{"takes too long altogether", release.Fetch{Timeout: 300 * time.Millisecond}, stalling, api.KindInvalid, "deadline"},
		{"endless", release.Fetch{}, endless, api.KindInvalid, "archive refused"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			s := fetchingStore(t, root, c.rule)
			_, err := s.Register(t.Context(), declared, c.base)
			if err == nil || api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v; want kind %s with %q", err, c.kind, c.says)
			}
			mustBeEmpty(t, filepath.Join(root, "incoming"))
		})
	}
	t.Run("redirected to where it is", func(t *testing.T) {
		s := fetchingStore(t, t.TempDir(), release.Fetch{})
		if _, err := s.Register(t.Context(), declared, redirect(target)+"/x"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRegisterNeedsTheArch(t *testing.T) {
	s := openStore(t, t.TempDir())
	_, err := s.Register(t.Context(), release.Declared{Agent: "a", Version: "1"}, "http://127.0.0.1:1/x")
	if api.KindOf(err) != api.KindInvalid {
		t.Fatalf("got %v; want a refusal", err)
	}
}
