package install_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

// A cut download goes on where it stopped, in the same run.
func TestDownloadGoesOnAfterACut(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: downloads slowly")
	}
	t.Parallel()
	r := newRelease(t, 3<<20)
	whole := content(r.tarball)
	chunked := func(w http.ResponseWriter, _ *http.Request) { // announces no length
		for b := range slices.Chunk(r.tarball, 1000) {
			_, _ = w.Write(b)
			_ = http.NewResponseController(w).Flush()
		}
	}
	lastModified := func(w http.ResponseWriter, req *http.Request) {
		http.ServeContent(w, req, "", stamp, strings.NewReader(string(r.tarball)))
	}
	noRanges := func(w http.ResponseWriter, req *http.Request) {
		req.Header.Del("Range")
		whole(w, req)
	}
	other := newRelease(t, 2<<20)
	cases := map[string]struct {
		handler http.HandlerFunc
		ranges  []string // of the requests
		ifRange string   // of the second one
	}{
		"ETag":                       {inTurn(cutAfter(1_000_000, whole), whole), []string{"", "bytes=1000000-"}, `"` + r.md5 + `"`},
		"Last-Modified":              {inTurn(cutAfter(1_000_000, lastModified), lastModified), []string{"", "bytes=1000000-"}, stamp.UTC().Format(http.TimeFormat)},
		"many cuts":                  {inTurn(cutAfter(1<<20, whole), cutAfter(1<<20, whole), cutAfter(1<<19, whole), whole), []string{"", "bytes=1048576-", "bytes=2097152-", "bytes=2621440-"}, `"` + r.md5 + `"`},
		"server cannot resume":       {inTurn(cutAfter(1_000_000, noRanges), noRanges), []string{"", "bytes=1000000-", ""}, `"` + r.md5 + `"`},
		"file changed in between":    {inTurn(cutAfter(1_000_000, content(other.tarball)), whole), []string{"", "bytes=1000000-", ""}, `"` + other.md5 + `"`},
		"no length, then a cut":      {inTurn(cutAfter(1_000_000, chunked), whole), []string{"", "bytes=1000000-"}, ""},
		"no length at all":           {chunked, []string{""}, ""},
		"announced length too large": {inTurn(lying(r.tarball, 5000), whole), []string{"", fmt.Sprintf("bytes=%d-", len(r.tarball))}, ""},
		"busy, then fine":            {inTurn(status(503), status(500), whole), []string{"", "", ""}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, c.handler)
			j := testJob(t, r, server.URL)
			if _, err := install.Run(t.Context(), j, nil); err != nil {
				t.Fatal(err)
			}
			r.mustBe(t, j)
			if got := server.header("Range"); !slices.Equal(got, c.ranges) {
				t.Errorf("ranges %q, want %q", got, c.ranges)
			}
			if got := server.header("If-Range"); c.ifRange != "" && got[1] != c.ifRange {
				t.Errorf("If-Range %q, want %q", got[1], c.ifRange)
			}
		})
	}
}

// lying announces more bytes than come.
func lying(b []byte, more int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)+more))
		_, _ = w.Write(b)
	}
}

// endless sends for as long as anybody listens.
func endless(w http.ResponseWriter, r *http.Request) {
	for b := make([]byte, 64<<10); r.Context().Err() == nil; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// haste is a stall timeout that a server which is only busy keeps.
const haste = 2 * time.Second

// stalling sends n bytes of b and then one byte now and then, too few to count.
func stalling(b []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:n])
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for sent := n; sent < len(b); sent++ {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
				_, _ = w.Write(b[sent : sent+1])
			case <-r.Context().Done():
				return
			}
		}
	}
}

// TestI4OnlyTheWantedTarballIsInstalled has servers that fail or lie in every
// way; afterwards nothing is left but, for passing errors, the part.
func TestI4OnlyTheWantedTarballIsInstalled(t *testing.T) {
	r, other := newRelease(t, 300_000), newRelease(t, 310_000)
	whole := content(r.tarball)
	patient := func(*job.Install) {}
	hasty := func(j *job.Install) { j.Limits.StallTimeout = haste }
	size := func(j *job.Install) { j.Size = int64(len(r.tarball)) }
	cases := map[string]struct {
		handler   http.HandlerFunc
		change    func(*job.Install)
		reason    string
		permanent bool
		requests  int
		part      bool // something to go on with is left
	}{
		"404":                       {status(404), patient, install.CodeNotFound, true, 1, false},
		"410":                       {status(410), patient, install.CodeNotFound, true, 1, false},
		"403":                       {status(403), patient, install.CodeForbidden, true, 1, false},
		"400":                       {status(400), patient, install.CodeRefused, true, 1, false},
		"500 for ever":              {status(500), patient, install.CodeServerError, false, 3, true},
		"304 to no question":        {status(304), patient, install.CodeServerError, false, 3, true},
		"429 for hours":             {retryLater("7200"), patient, install.CodeServerBusy, false, 1, true},
		"wrong tarball, twice":      {content(other.tarball), patient, install.CodeWrongDigest, true, 2, false},
		"wrong sha256, right md5":   {whole, func(j *job.Install) { j.SHA256 = other.sha256 }, install.CodeWrongDigest, true, 2, false},
		"right sha256, wrong md5":   {whole, func(j *job.Install) { j.SHA256, j.MD5 = r.sha256, other.md5 }, install.CodeWrongDigest, true, 2, false},
		"an HTML page":              {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>login</html>") }, patient, install.CodeWrongDigest, true, 2, false},
		"other size than announced": {content(other.tarball), size, install.CodeWrongSize, true, 2, false},
		"endless, size announced":   {endless, size, install.CodeTooLarge, true, 2, false},
		"endless, size configured":  {endless, func(j *job.Install) { j.Limits.MaxDownload = 1 << 20 }, install.CodeTooLarge, true, 2, false},
		"larger than configured":    {whole, func(j *job.Install) { j.Limits.MaxDownload = 1000 }, install.CodeTooLarge, true, 2, false},
		"stalls for ever":           {stalling(r.tarball, 100_000), hasty, install.CodeStalled, false, -1, true},
		"never answers":             {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, hasty, install.CodeUnreachable, false, 3, true},
		"redirects for ever":        {redirect("/"), patient, install.CodeBadRedirect, true, 6, false},
		"redirect to a file":        {redirect("file:///etc/passwd"), patient, install.CodeBadRedirect, true, 1, false},
		"redirect to ftp":           {redirect("ftp://127.0.0.1/x"), patient, install.CodeBadRedirect, true, 1, false},
		"no digest":                 {whole, func(j *job.Install) { j.MD5 = "" }, install.CodeNoDigest, true, 0, false},
		"name with a slash":         {whole, func(j *job.Install) { j.Version = "../1.0" }, install.CodeBadJob, true, 0, false},
		"relative directory":        {whole, func(j *job.Install) { j.Dir = "agents" }, install.CodeBadJob, true, 0, false},
		"no address":                {whole, func(j *job.Install) { j.Tarballs = nil }, install.CodeBadJob, false, 0, false},
		"more than free":            {whole, func(j *job.Install) { j.Limits.Reserve = 1 << 60 }, install.CodeNoSpace, false, 1, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, c.handler)
			j := testJob(t, r, server.URL)
			dir := j.Dir
			c.change(&j)
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, c.reason, c.permanent)
			if got := len(server.header("Range")); got != c.requests && c.requests >= 0 {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
			if !c.part {
				mustHold(t, dir)
				return
			}
			if fi, err := os.Stat(filepath.Join(dir, ".part-agent-1.0.0")); err != nil || (c.reason == install.CodeStalled && fi.Size() < 100_000) {
				t.Errorf("the part is lost: %v", err)
			}
			server.Config.Handler = whole // the cause is gone
			if _, err := install.Run(t.Context(), j, nil); err != nil && c.reason != install.CodeStalled && c.reason != install.CodeUnreachable {
				t.Errorf("once the cause is gone: %v", err)
			}
		})
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func retryLater(v string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", v)
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func TestServersRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, inTurn(retryLater("2"), content(r.tarball))).URL)
	began := time.Now()
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("came back after %v", took)
	}
}

func TestMirrorsAreTriedInOrder(t *testing.T) {
	t.Parallel()
	r, other := newRelease(t, 3<<20), newRelease(t, 310_000)
	whole := content(r.tarball)
	cases := map[string][]http.HandlerFunc{
		"missing":              {status(404), whole},
		"broken":               {status(500), whole},
		"wrong":                {content(other.tarball), whole},
		"endless":              {endless, whole},
		"both break":           {cutAfter(2<<20, whole), cutAfter(2<<20, whole)},
		"begun with the wrong": {cutAfter(200_000, content(other.tarball)), whole},
		"same size, wrong":     {cutAfter(1<<20, content(flipped(r.tarball))), whole, whole},
	}
	for name, handlers := range cases {
		t.Run(name, func(t *testing.T) {
			j := testJob(t, r)
			j.Limits.MaxDownload = 10 << 20
			for _, h := range handlers {
				j.Tarballs = append(j.Tarballs, serve(t, h).URL)
			}
			if _, err := install.Run(t.Context(), j, nil); err != nil {
				t.Fatal(err)
			}
			r.mustBe(t, j)
		})
	}
}

// creeping sends 10 KiB a second for so long, then the rest at once.
func creeping(b []byte, long time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(&creeper{w, r.Context(), time.Now().Add(long)}, r, "", time.Time{}, bytes.NewReader(b))
	}
}

type creeper struct {
	http.ResponseWriter
	ctx   context.Context
	until time.Time
}

func (c *creeper) Write(p []byte) (n int, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(p) > n && time.Now().Before(c.until) {
		sent, err := c.ResponseWriter.Write(p[n:min(n+1<<10, len(p))])
		if n += sent; err == nil {
			err = http.NewResponseController(c.ResponseWriter).Flush()
		}
		if err != nil {
			return n, err
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return n, c.ctx.Err()
		}
	}
	sent, err := c.ResponseWriter.Write(p[n:])
	return n + sent, err
}

func TestSlowMirrorsMakeWayWhileThereAreOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: downloads slowly")
	}
	t.Parallel()
	r := newRelease(t, 1000)
	whole := content(r.tarball)
	cases := map[string]struct {
		handlers []http.HandlerFunc
		asked    []int // how often each was
	}{
		"slow, then a good one":   {[]http.HandlerFunc{creeping(r.tarball, time.Minute), whole}, []int{1, 1}},
		"next to nothing":         {[]http.HandlerFunc{stalling(r.tarball, 0), whole}, []int{1, 1}},
		"slow ones only":          {[]http.HandlerFunc{creeping(r.tarball, time.Minute), creeping(r.tarball, 2*haste)}, []int{1, 1}},
		"slow alone":              {[]http.HandlerFunc{creeping(r.tarball, 2*haste)}, []int{1}},
		"slow, the other is away": {[]http.HandlerFunc{inTurn(creeping(r.tarball, time.Minute), creeping(r.tarball, 2*haste)), status(503)}, []int{2, 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testJob(t, r)
			j.Limits.StallTimeout, j.Limits.Retries = haste, 1
			var mirrors []*origin
			for _, h := range c.handlers {
				mirrors = append(mirrors, serve(t, h))
				j.Tarballs = append(j.Tarballs, mirrors[len(mirrors)-1].URL)
			}
			if _, err := install.Run(t.Context(), j, nil); err != nil {
				t.Fatal(err)
			}
			r.mustBe(t, j)
			for i, m := range mirrors {
				if got := len(m.header("Range")); got != c.asked[i] {
					t.Errorf("mirror %d was asked %d times, want %d", i, got, c.asked[i])
				}
			}
		})
	}
}

func TestErrorNamesEveryMirror(t *testing.T) {
	t.Parallel()
	r, other := newRelease(t, 1000), newRelease(t, 310_000)
	cases := map[string]struct {
		handlers  []http.HandlerFunc
		reason    string
		permanent bool
		says      []string
	}{
		"none has it":         {[]http.HandlerFunc{status(404), content(other.tarball)}, install.CodeWrongDigest, true, []string{"404", "is wanted"}},
		"one may come back":   {[]http.HandlerFunc{status(404), status(500)}, install.CodeServerError, false, []string{"404", "500"}},
		"endless and missing": {[]http.HandlerFunc{endless, status(410)}, install.CodeTooLarge, true, []string{"bytes arrive", "410"}},
		"all are away":        {[]http.HandlerFunc{status(500), status(502), status(503)}, install.CodeServerBusy, false, []string{"500", "502", "503"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testJob(t, r)
			j.Limits.Retries, j.Limits.MaxDownload = 0, 1<<20 // however few retries, each is asked
			for i, h := range c.handlers {
				url := strings.Replace(serve(t, h).URL, "http://", "http://bob:s3cr3t@", 1) + fmt.Sprintf("/mirror-%d", i)
				j.Tarballs = append(j.Tarballs, url)
				c.says = append(c.says, fmt.Sprintf("/mirror-%d", i))
			}
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, c.reason, c.permanent)
			for _, want := range c.says {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("%q is not said: %v", want, err)
				}
			}
			if strings.Contains(fmt.Sprint(err), "s3cr3t") {
				t.Errorf("a password is told: %v", err)
			}
		})
	}
}

func flipped(b []byte) []byte {
	b = slices.Clone(b)
	b[1000] ^= 1
	return b
}

func TestPartOfAnEarlierRunIsUsed(t *testing.T) {
	t.Parallel()
	r := newRelease(t, 2<<20)
	n := len(r.tarball)
	cases := map[string]struct {
		spoil  func(part string)
		ranges []string // of the second run
	}{
		"as it was":        {func(string) {}, []string{"bytes=1000000-"}},
		"damaged":          {func(p string) { rewrite(p, func(b []byte) []byte { b[5000] ^= 1; return b }) }, []string{"bytes=1000000-", ""}},
		"complete already": {func(p string) { rewrite(p, func([]byte) []byte { return r.tarball }) }, nil},
		"too large":        {func(p string) { rewrite(p, func(b []byte) []byte { return append(slices.Clone(r.tarball), b...) }) }, []string{""}},
		"origin lost":      {func(p string) { _ = os.Remove(p + ".json") }, []string{""}},
		"origin garbled":   {func(p string) { _ = os.WriteFile(p+".json", []byte("{"), 0o600) }, []string{""}},
		"a directory now":  {func(p string) { _ = os.Remove(p); _ = os.MkdirAll(p+"/x", 0o755) }, []string{""}},
		"a link now":       {func(p string) { _ = os.Remove(p); _ = os.Symlink("/etc/hostname", p) }, []string{""}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, inTurn(cutAfter(1_000_000, content(r.tarball)), content(r.tarball)))
			j := testJob(t, r, server.URL)
			j.Limits.Retries = 0
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, install.CodeUnreachable, false)
			c.spoil(filepath.Join(j.Dir, ".part-agent-1.0.0"))
			if err := os.MkdirAll(filepath.Join(j.Dir, ".staging-0.9", "x"), 0o755); err != nil { // an older crash's
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(j.Dir, ".part-agent-0.9"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := install.Run(t.Context(), j, nil); err != nil {
				t.Fatal(err)
			}
			r.mustBe(t, j)
			if got := server.header("Range")[1:]; !slices.Equal(got, c.ranges) {
				t.Errorf("ranges %q, want %q (of %d bytes)", got, c.ranges, n)
			}
		})
	}
}

func rewrite(path string, change func([]byte) []byte) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		panic(err)
	}
}

func TestDigestComesFromItsFile(t *testing.T) {
	r := newRelease(t, 1000)
	cases := map[string]struct {
		file   http.HandlerFunc
		reason string
	}{
		"md5sum's format":      {says(r.md5 + "  agent-1.0.0.tar.gz\n"), ""},
		"binary mode":          {says(strings.ToUpper(r.md5) + " *agent-1.0.0.tar.gz\n"), ""},
		"escaped name":         {says(`\` + r.md5 + "  a\\\\gent.tar.gz\n"), ""},
		"bare":                 {says(r.md5), ""},
		"busy at first":        {inTurn(status(503), says(r.md5)), ""},
		"empty":                {says(""), install.CodeBadDigestFile},
		"a page":               {says("<html>login</html>"), install.CodeBadDigestFile},
		"a sha256":             {says(r.sha256), install.CodeBadDigestFile},
		"missing":              {status(404), install.CodeNotFound},
		"endless":              {endless, install.CodeTooLarge},
		"of another file":      {says(strings.Repeat("0", 32)), install.CodeWrongDigest},
		"redirect to nowhere":  {redirect("gopher://x/"), install.CodeBadRedirect},
		"answers, never sends": {stalling([]byte(strings.Repeat("x", 500)), 0), install.CodeStalled},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testJob(t, r, serve(t, content(r.tarball)).URL)
			j.MD5, j.MD5URL = "", serve(t, c.file).URL+"/agent-1.0.0.tar.gz.md5"
			if c.reason == install.CodeStalled {
				j.Limits.StallTimeout = haste
			}
			res, err := install.Run(t.Context(), j, nil)
			if c.reason == "" && (err != nil || res.MD5 != r.md5) {
				t.Fatalf("%+v, %v", res, err)
			}
			var e *install.Error
			if c.reason != "" && (!errors.As(err, &e) || e.Code != c.reason) {
				t.Fatalf("got %v, want %s", err, c.reason)
			}
		})
	}
}

func says(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}

func TestRedirectsCarryNoCredentialsToAnotherHost(t *testing.T) {
	r := newRelease(t, 1000)
	storage := serve(t, content(r.tarball))
	front := serve(t, redirect(storage.URL+"/blob"))
	j := testJob(t, r, strings.Replace(front.URL, "http://", "http://falcon:secret@", 1))
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	if got := front.header("Authorization"); got[0] == "" {
		t.Error("the first host did not get the credentials")
	}
	if got := storage.header("Authorization"); got[0] != "" {
		t.Errorf("the other host got %q", got)
	}
	if got := storage.header("Referer"); got[0] != "" {
		t.Errorf("the other host got the address %q", got)
	}
}

func TestPasswordsInAddressesAreNotTold(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, strings.Replace(serve(t, status(404)).URL, "http://", "http://falcon:secret@", 1))
	if _, err := install.Run(t.Context(), j, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	j.Tarballs = []string{"http://falcon:secret@127.0.0.1:1/x"}
	if _, err := install.Run(t.Context(), j, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestHTTPSNeverLeadsDownToHTTP(t *testing.T) {
	t.Parallel()
	r := newRelease(t, 1000)
	plain := serve(t, content(r.tarball))
	secure := httptest.NewTLSServer(redirect(plain.URL))
	t.Cleanup(secure.Close)
	j := testJob(t, r, secure.URL)
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeUnreachable, false) // its certificate is nobody's
	next, _ := http.NewRequest(http.MethodGet, plain.URL, nil)
	last, _ := http.NewRequest(http.MethodGet, secure.URL, nil)
	if err := install.CheckRedirect(next, []*http.Request{last}); err == nil {
		t.Error("a redirect from https to http is followed")
	}
	if err := install.CheckRedirect(last, []*http.Request{next}); err != nil {
		t.Errorf("a redirect from http to https is refused: %v", err)
	}
}

func TestRateIsLimited(t *testing.T) {
	t.Parallel()
	r := newRelease(t, 200_000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	j.Limits.MaxRate = int64(len(r.tarball)) // a second, less the burst of a quarter
	began := time.Now()
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 600*time.Millisecond {
		t.Errorf("took %v, want about a second", took)
	}
}

func TestOurOwnSlownessIsNoStall(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: downloads slowly")
	}
	t.Parallel()
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	j.Limits.MaxRate, j.Limits.StallTimeout = int64(len(r.tarball)/8), 4*time.Second
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
}

func TestProxyIsUsed(t *testing.T) {
	r := newRelease(t, 1000)
	proxy := serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Host != "releases.invalid" {
			http.Error(w, "not for a proxy: "+req.URL.String(), http.StatusBadRequest)
			return
		}
		content(r.tarball)(w, req)
	})
	j := testJob(t, r, "http://releases.invalid/agent.tar.gz")
	j.Route.Proxy = proxy.URL
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	j.Route.Proxy, j.Version = "not a proxy", "2.0.0"
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeBadJob, true)
}

func TestWhoIsBelieved(t *testing.T) {
	r := newRelease(t, 1000)
	server := httptest.NewTLSServer(content(r.tarball))
	t.Cleanup(server.Close)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	cases := []struct {
		name   string
		route  job.Route
		reason string // empty: it is installed
	}{
		{"the system's authorities only", job.Route{}, install.CodeUnreachable},
		{"ours", job.Route{CA: own}, ""},
		{"anybody", job.Route{Insecure: true}, ""},
		{"no certificate", job.Route{CA: "nonsense"}, install.CodeBadJob},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			j := testJob(t, r, server.URL)
			j.Route = tc.route
			_, err := install.Run(t.Context(), j, nil)
			if tc.reason == "" && err != nil {
				t.Fatal(err)
			}
			if tc.reason != "" {
				mustFail(t, err, tc.reason, tc.reason == install.CodeBadJob)
			}
		})
	}
}

func TestEndOfContextKeepsThePart(t *testing.T) {
	r := newRelease(t, 3<<20)
	server := serve(t, inTurn(stalling(r.tarball, 1<<20), content(r.tarball)))
	j := testJob(t, r, server.URL)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := install.Run(ctx, j, func(p job.Progress) {
		if p.Done >= 1<<20 {
			cancel()
		}
	})
	mustFail(t, err, install.CodeCancelled, false)
	mustHold(t, j.Dir, ".part-agent-1.0.0", ".part-agent-1.0.0.json")
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	r.mustBe(t, j)
	if got := server.header("Range"); got[1] == "" {
		t.Error("the second run started afresh")
	}
}
