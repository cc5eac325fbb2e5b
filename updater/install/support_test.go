package install_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

const script = "#!/bin/sh\necho started\n"

// release is a tarball and what it must become on the disk.
type release struct {
	tarball []byte
	files   map[string]string
	md5     string
	sha256  string
}

// newRelease packs control, small files in several directories, a large file
// that does not compress, and links.
//
// Tests must not change it: it is made once for each size.
func newRelease(t testing.TB, large int) release {
	t.Helper()
	releases.Lock()
	defer releases.Unlock()
	r, ok := releases.m[large]
	if !ok {
		r = makeRelease(t, large)
		releases.m[large] = r
	}
	return r
}

var releases = struct {
	sync.Mutex
	m map[int]release
}{m: map[int]release{}}

func makeRelease(t testing.TB, large int) release {
	t.Helper()
	r := release{files: map[string]string{"control": script, "bin/large": noise(large, 7), "empty": ""}}
	for i := range 40 {
		r.files[fmt.Sprintf("lib/a%d/b/f%d", i%5, i)] = noise(i*500, uint32(i+1))
	}
	var members []tar.Header
	for name := range r.files {
		mode := int64(0o644)
		if name == "control" {
			mode = 0o775
		}
		members = append(members, tar.Header{Name: "./" + name, Mode: mode, ModTime: stamp})
	}
	members = append(members,
		tar.Header{Name: "lib/a0/", Typeflag: tar.TypeDir, Mode: 0o555, ModTime: stamp},
		tar.Header{Name: "lib/current", Typeflag: tar.TypeSymlink, Linkname: "a1/b"},
		tar.Header{Name: "bin/hard", Typeflag: tar.TypeLink, Linkname: "control"})
	r.tarball = pack(t, members, func(name string) string { return r.files[filepath.Clean(name)] })
	r.md5, r.sha256 = sums(r.tarball)
	return r
}

var stamp = time.Unix(1_600_000_000, 0)

func pack(t testing.TB, members []tar.Header, content func(string) string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, h := range members {
		c := ""
		if h.Typeflag == 0 {
			c = content(h.Name)
		}
		h.Size = int64(len(c))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sums(b []byte) (string, string) {
	m, s := md5.Sum(b), sha256.Sum256(b)
	return hex.EncodeToString(m[:]), hex.EncodeToString(s[:])
}

// noise does not compress and is the same every time.
func noise(n int, x uint32) string {
	b := make([]byte, n)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return string(b)
}

// origin is a file server whose answers a test can spoil. It counts requests
// and remembers their headers.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func serve(t testing.TB, h http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.requests = append(o.requests, r.Clone(context.Background()))
		o.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(func() {
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// header lists one header of all requests so far.
func (o *origin) header(name string) (values []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		values = append(values, r.Header.Get(name))
	}
	return values
}

// content serves b as a file server does, with a validator and ranges.
func content(b []byte) http.HandlerFunc {
	tag, _ := sums(b)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+tag+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// cutAfter serves content, but breaks the connection after n bytes of a body.
func cutAfter(n int, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { h(&cutter{ResponseWriter: w, left: n}, r) }
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// inTurn answers the first request with the first handler, and so on; the last
// one answers all that follow.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[0]
		if len(handlers) > 1 {
			handlers = handlers[1:]
		}
		mu.Unlock()
		h(w, r)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// testJob installs r as version 1.0.0 from these addresses. It has little patience.
func testJob(t testing.TB, r release, urls ...string) job.Install {
	t.Helper()
	return job.Install{
		Agent: "agent", Version: "1.0.0", Dir: filepath.Join(t.TempDir(), "agent"), Tarballs: urls, MD5: r.md5,
		Limits: testLimits(),
	}
}

func testLimits() job.Limits {
	return job.Limits{
		MaxDownload: 4 << 30, MaxUnpacked: 8 << 30, MaxFiles: 200_000, MaxConfig: 4 << 20,
		StallTimeout: 30 * time.Second, Retries: 2, SyncTimeout: 30 * time.Second,
	}
}

// mustBe checks that the version's tree is the release and that nothing else
// is left.
func (r release) mustBe(t testing.TB, j job.Install, extra ...string) {
	t.Helper()
	mustHold(t, j.Dir, append(extra, j.Version)...)
	got := map[string]string{}
	err := filepath.WalkDir(filepath.Join(j.Dir, j.Version), func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(filepath.Join(j.Dir, j.Version), p)
		got[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got["bin/hard"] != script {
		t.Errorf("the hard link is missing")
	}
	delete(got, "bin/hard")
	if len(got) != len(r.files) {
		t.Errorf("%d files, want %d", len(got), len(r.files))
	}
	for name, want := range r.files {
		if got[name] != want {
			t.Errorf("%s differs: %d bytes, want %d", name, len(got[name]), len(want))
		}
	}
}

// mustHold checks that the directory has these entries and no others.
func mustHold(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) && len(got)+len(want) > 0 {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}

// mustFail checks the reason of a failed install.
func mustFail(t testing.TB, err error, reason string, permanent bool) {
	t.Helper()
	var e *install.Error
	if !errors.As(err, &e) || e.Code != reason || e.Permanent != permanent {
		t.Errorf("got %#v %v, want reason %s, permanent %v", e, err, reason, permanent)
	}
}
