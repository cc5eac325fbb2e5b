package heartbeat_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
)

const report = `{"hostname":"web-01","ip":"10.0.0.1","runUser":"root","updaterVersion":"1","realAgents":[{"name":"falcon","version":"1.0","status":"started\n","timestamp":0,"runUser":"falcon","workDir":"/srv"}],"arch":"linux_amd64"}`

// newFleet tells every host to run falcon 2.0.
func newFleet(agents int) *fleet.Fleet { return newFleetIn("", agents) }

func newFleetIn(workDir string, agents int) *fleet.Fleet {
	w := api.Wanted{Serial: 3}
	for i := range agents {
		name := "falcon"
		if i > 0 {
			name = fmt.Sprintf("agent-%d", i)
		}
		w.Agents = append(w.Agents, api.Agent{Name: name, WorkDir: workDir})
		w.Releases = append(w.Releases, api.Release{Agent: name, Version: "2.0", Artifacts: []api.Artifact{{Arch: "linux_amd64", MD5: "490ac172dabecc867289079d48e84a66"}}})
		w.Assignments = append(w.Assignments, api.Assignment{Agent: name, Version: "2.0", Scope: api.Scope{Kind: api.ScopeEveryone}})
	}
	f := fleet.New(fleet.Options{})
	f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: "http://meta.example", Interval: 60}, time.Now()))
	return f
}

func newServer(t *testing.T, o heartbeat.Options) *httptest.Server {
	t.Helper()
	if o.Fleet == nil {
		o.Fleet = newFleet(1)
	}
	return newHandlerServer(t, heartbeat.New(o))
}

func newHandlerServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

type sent struct {
	path   string
	body   string
	header map[string]string
}

// got is a reply without its body.
type got struct {
	StatusCode int
	Header     http.Header
}

func (m sent) to(t *testing.T, s *httptest.Server) (got, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.URL+m.path, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range m.header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header}, string(body)
}

func TestReplies(t *testing.T) {
	v1 := `{"errorMessage":"","desiredAgents":[{"name":"falcon","version":"2.0","tarball":"http://meta.example/releases/falcon","md5":"490ac172dabecc867289079d48e84a66","cmd":"start","runUser":"","workDir":"","configFileName":"","configRemoteUrl":""}],"interval":60,"serial":3}` + "\n"
	legacy := `{"errorMessage":"","desiredAgents":[{"name":"falcon","version":"2.0","tarball":"http://meta.example/releases/falcon/linux_amd64","md5":"http://meta.example/releases/falcon/linux_amd64","cmd":"start"}]}` + "\n"
	cases := []struct {
		name string
		sent sent
		want string
	}{
		{"this contract", sent{path: meta.PathV1, body: report}, v1},
		{"the older one", sent{path: meta.PathLegacy, body: `{"hostname":"old","realAgents":[]}`}, legacy},
		{"the older one, nothing reported", sent{path: meta.PathLegacy, body: `{"hostname":"old","realAgents":null}`}, legacy},
		{"unknown fields are ignored", sent{path: meta.PathLegacy, body: `{"hostname":"old","new":{"a":[1]},"realAgents":[]}`}, legacy},
		{"keys in another order", sent{path: meta.PathLegacy, body: `{"realAgents":[],"hostname":"old"}`}, legacy},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, heartbeat.Options{})
			for range 3 { // the second and third take the short way
				resp, body := c.sent.to(t, s)
				if resp.StatusCode != http.StatusOK || body != c.want {
					t.Fatalf("%d %s\nwant 200 %s", resp.StatusCode, body, c.want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	agents := func(n int) string {
		return `{"hostname":"h","realAgents":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, n), ",") + `]}`
	}
	labels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"l%d":"x",`, i)
		}
		return `{"hostname":"h","labels":{` + strings.TrimSuffix(b.String(), ",") + `}}`
	}
	cases := []struct {
		name    string
		body    string
		header  map[string]string
		status  int
		message string
	}{
		{"blank", " \n", nil, 400, "body is blank"},
		{"empty", "", nil, 400, "body is blank"},
		{"no JSON", "hello", nil, 400, "body format error"},
		{"another type", `{"hostname":["h"]}`, nil, 400, "body format error"},
		{"cut short", report[:50], nil, 400, "body format error"},
		{"no hostname", `{"realAgents":[]}`, nil, 400, "hostname is blank"},
		{"blank hostname", `{"hostname":"  "}`, nil, 400, "hostname is blank"},
		{"hostname with a path", `{"hostname":"../x"}`, nil, 400, `hostname "../x" is not allowed`},
		{"endless hostname", `{"hostname":"` + strings.Repeat("h", 300) + `"}`, nil, 400, "is not allowed"},
		{"too large", `{"hostname":"` + strings.Repeat(" ", 1<<20) + `"}`, nil, 413, "larger than"},
		{"too deep", `{"hostname":"h","x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, nil, 400, "nested deeper"},
		{"too many agents", agents(257), nil, 400, "257 agents"},
		{"too many labels", labels(65), nil, 400, "65 labels"},
		{"a label too long", `{"hostname":"h","labels":{"k":"` + strings.Repeat("v", 300) + `"}}`, nil, 400, `label "k"`},
		{"a label with a control character", `{"hostname":"h","labels":{"k":"a\u0000b"}}`, nil, 400, `label "k"`},
		{"unknown encoding", report, map[string]string{"Content-Encoding": "br"}, 415, "br"},
		{"not gzip", report, map[string]string{"Content-Encoding": "gzip"}, 400, "body format error"},
		{"a bomb", zipped(strings.Repeat(" ", 5<<20)), map[string]string{"Content-Encoding": "gzip"}, 413, "larger than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, heartbeat.Options{})
			for _, path := range []string{meta.PathV1, meta.PathLegacy} {
				resp, body := sent{path, c.body, c.header}.to(t, s)
				var got struct {
					ErrorMessage, Message string
					Success               *bool
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != c.status {
					t.Fatalf("%s: %d %s, %v; want %d", path, resp.StatusCode, body, err, c.status)
				}
				if !strings.Contains(got.Message, c.message) || got.ErrorMessage != got.Message || got.Success == nil || *got.Success {
					t.Fatalf("%s: got %s; want %q, not a success", path, body, c.message)
				}
			}
		})
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	s := newServer(t, heartbeat.Options{})
	resp, err := s.Client().Get(s.URL + meta.PathV1)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != http.MethodPost {
		t.Fatalf("%d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestWhatIsLeftOutBecomesAProblem(t *testing.T) {
	cases := []struct {
		name, agents, problem string
		want                  []string // agents kept, as name version
	}{
		{"a path for a name", `{"name":"../etc","version":"1"},{"name":"ok","version":"1"}`, `"../etc"`, []string{"ok 1"}},
		{"twice", `{"name":"a","version":"1"},{"name":"a","version":"2"}`, "more than once", []string{"a 1"}},
		{"a path for a version", `{"name":"a","version":"1/2"}`, `"1/2"`, []string{"a "}},
		{"a phase of its own", `{"name":"a","version":"1","phase":"dancing"}`, "dancing", []string{"a 1"}},
		{"nothing", `{"name":"a","version":"1","status":"started\n"}`, "", []string{"a 1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(1)
			s := newServer(t, heartbeat.Options{Fleet: f})
			if resp, body := (sent{path: meta.PathV1, body: `{"hostname":"h","realAgents":[` + c.agents + `]}`}).to(t, s); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			host, _ := f.Host("h")
			var got []string
			for _, a := range host.Agents {
				got = append(got, a.Name+" "+a.Version)
				if strings.TrimSpace(a.Status) != a.Status {
					t.Errorf("status %q is not trimmed", a.Status)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("kept %q; want %q", got, c.want)
			}
			if problems := strings.Join(host.Problems, "; "); !strings.Contains(problems, c.problem) || (c.problem == "") != (problems == "") {
				t.Errorf("problems %q; want %q", problems, c.problem)
			}
		})
	}
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func TestETagAndCompression(t *testing.T) {
	s := newServer(t, heartbeat.Options{Fleet: newFleet(20)})
	plain, body := sent{path: meta.PathV1, body: report}.to(t, s)
	tag := plain.Header.Get("ETag")
	if tag == "" || plain.Header.Get("Content-Encoding") != "" {
		t.Fatalf("headers %v", plain.Header)
	}
	small, packed := sent{meta.PathV1, zipped(report), map[string]string{"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}}.to(t, s)
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil || small.Header.Get("Content-Encoding") != "gzip" || len(packed) >= len(body) {
		t.Fatalf("%v, %v; want gzip", small.Header, err)
	}
	if unpacked, err := io.ReadAll(z); err != nil || string(unpacked) != body {
		t.Fatalf("unpacked %s, %v", unpacked, err)
	}
	for header, want := range map[string]int{tag: http.StatusNotModified, `W/"other"`: http.StatusOK} {
		resp, got := sent{meta.PathV1, report, map[string]string{"If-None-Match": header}}.to(t, s)
		if resp.StatusCode != want || (want == http.StatusNotModified && got != "") {
			t.Errorf("If-None-Match %s: %d %q; want %d", header, resp.StatusCode, got, want)
		}
	}
}

// deny refuses a sender that does not send the host's name as its credential.
type deny struct{ status int }

func (d deny) Sender(r *http.Request) (api.Identity, error) {
	name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if name == "" {
		return api.Identity{}, d.refusal()
	}
	return api.Identity{Name: name}, nil
}

func (d deny) MayReport(_ *http.Request, sender api.Identity, host string) error {
	if sender.Name == host {
		return nil
	}
	return d.refusal()
}

func (d deny) refusal() error {
	if d.status == 0 {
		return errors.New("no credential")
	}
	return denied(d)
}

type denied struct{ status int }

func (d denied) Error() string             { return "denied" }
func (d denied) HTTPStatus() int           { return d.status }
func (d denied) RetryAfter() time.Duration { return time.Minute }

func TestAccess(t *testing.T) {
	cases := []struct {
		name, credential, body string
		status, want           int
	}{
		{"the host's own", "web-01", report, 0, 200},
		{"the host's own, the long way", "web-01", `{"ip":"1.2.3.4","hostname":"web-01"}`, 0, 200},
		{"none", "", report, 0, 401},
		{"another host's", "web-02", report, 403, 403},
		{"another host's, hidden by a second key", "web-01", `{"hostname":"web-01","x":1,"hostname":"web-02"}`, 403, 403},
		{"too many tries", "", report, 429, 429},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, heartbeat.Options{Access: deny{c.status}})
			resp, body := sent{meta.PathV1, c.body, map[string]string{"Authorization": "Bearer " + c.credential}}.to(t, s)
			if resp.StatusCode != c.want {
				t.Fatalf("%d %s; want %d", resp.StatusCode, body, c.want)
			}
			if c.want == 429 && resp.Header.Get("Retry-After") != "60" {
				t.Fatalf("Retry-After %q", resp.Header.Get("Retry-After"))
			}
		})
	}
}

// slow holds heartbeats until it is told to let go.
type slow struct{ entered, release chan struct{} }

func (s slow) Sender(*http.Request) (api.Identity, error) { return api.Identity{}, nil }

func (s slow) MayReport(*http.Request, api.Identity, string) error {
	s.entered <- struct{}{}
	<-s.release
	return nil
}

func TestOverloadAsksToComeLater(t *testing.T) {
	gate := slow{make(chan struct{}), make(chan struct{})}
	s := newServer(t, heartbeat.Options{Access: gate, MaxInFlight: 1})
	done := make(chan int, 1)
	go func() {
		resp, err := s.Client().Post(s.URL+meta.PathV1, "", strings.NewReader(`{"ip":"","hostname":"h"}`))
		if err != nil {
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}()
	<-gate.entered
	resp, _ := sent{path: meta.PathV1, body: report}.to(t, s)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q; want 503", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	close(gate.release)
	if got := <-done; got != http.StatusOK {
		t.Errorf("the first heartbeat got %d", got)
	}
}

// Heartbeats that are half-sent push out each other, the oldest first, and no
// whole one.
func TestHalfSentHeartbeatsKeepNobodyOut(t *testing.T) {
	s := newServer(t, heartbeat.Options{MaxInFlight: 1, MaxArriving: 2})
	// Large halves: few connections use the budget up, within the time that the first one
	// has, also on a slow machine.
	const half, size = 320, 48 << 10
	began := "POST " + meta.PathV1 + " HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{" + strings.Repeat(" ", size)
	first := make(chan int, half)
	for range half {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, began); err != nil {
			t.Fatal(err)
		}
		go func() {
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				_ = resp.Body.Close()
				first <- resp.StatusCode
			}
		}()
	}
	for range 3 {
		if resp, body := (sent{path: meta.PathV1, body: report}).to(t, s); resp.StatusCode != http.StatusOK {
			t.Fatalf("a whole heartbeat got %d %s", resp.StatusCode, body)
		}
	}
	select {
	case got := <-first:
		if got != http.StatusServiceUnavailable {
			t.Errorf("the first half-sent heartbeat that was answered got %d; want it to make way", got)
		}
	case <-time.After(9 * time.Second): // before any of them runs out of time
		t.Error("no half-sent heartbeat made way")
	}
}

// A list that names its agents or labels in parts, or by another spelling that
// the decoder takes, is counted all the same.
func TestEntriesAreCountedHoweverTheyAreWritten(t *testing.T) {
	list := func(name string, n int) string {
		return `"` + name + `":[` + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + `]`
	}
	labels := func(name string, from, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"l%d":""`, from+i)
		}
		return `"` + name + `":{` + strings.TrimPrefix(b.String(), ",") + `}`
	}
	cases := []struct {
		name, body, says string
	}{
		{"as usual", list("realAgents", 300), "257 agents"},
		{"in capitals", list("REALAGENTS", 300), "257 agents"},
		{"escaped", list(`re\u0061lAgents`, 300), "257 agents"},
		{"twice", list("realAgents", 200) + "," + list("realAgents", 200), "257 agents"},
		{"labels in parts", labels("labels", 0, 50) + "," + labels("labels", 50, 50), "65 labels"},
		{"as many as may be", list("realAgents", 256) + "," + labels("labels", 0, 64), ""},
		{"a list that is not known", `"future":[` + strings.TrimSuffix(strings.Repeat(`{"realAgents":[1,2]},`, 1000), ",") + `]`, ""},
		{"commas in texts", `"realAgents":[{"name":"a","status":"` + strings.Repeat(",", 500) + `"}]`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := heartbeat.Decode([]byte(`{"hostname":"h",`+c.body+`}`), heartbeat.Limits{})
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
