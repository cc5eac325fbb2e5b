package server_test

import (
	"crypto/md5"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/server"
)

// mirror serves tarballs by path, to anyone who logs in when it asks for that, and
// remembers what it was sent.
type mirror struct {
	*httptest.Server
	user, password string
	mu             sync.Mutex
	files          map[string][]byte
	logins         []string
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, password, sent := r.BasicAuth()
	if sent {
		m.logins = append(m.logins, user+":"+password)
	}
	if m.user != "" && (user != m.user || password != m.password) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	data, there := m.files[r.URL.Path]
	switch {
	case !there:
		http.NotFound(w, r)
	case strings.HasPrefix(string(data), "http"):
		http.Redirect(w, r, string(data), http.StatusFound)
	default:
		_, _ = w.Write(data)
	}
}

func newMirror(t *testing.T, files map[string][]byte) *mirror {
	m := &mirror{files: files}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

// oldConfig is a cfg.json with one agent.
func oldConfig(name, version, tarball string, others ...string) []byte {
	entries := []string{}
	for i := 0; i < len(others); i += 3 {
		entries = append(entries, fmt.Sprintf(`{"prefix":%q,"version":%q,"tarball":%q}`, others[i], others[i+1], others[i+2]))
	}
	return fmt.Appendf(nil, `{"agents":[{"default":{"name":%q,"version":%q,"tarball":%q,"cmd":"start"},"others":[%s]}]}`,
		name, version, tarball, strings.Join(entries, ","))
}

func TestAnImportIsTakenWholeOrNotAtAll(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		one, two := tarball(t, map[string]string{"data": "one"}), tarball(t, map[string]string{"data": "two"})
		a := newMirror(t, map[string][]byte{"/f/demo-1.0.tar.gz": one, "/f/linux_arm64/demo-2.0.tar.gz": two, "/f/linux_amd64/demo-2.0.tar.gz": one})
		b := newMirror(t, map[string][]byte{"/f/demo-1.0.tar.gz": two, "/same/demo-1.0.tar.gz": one})
		sum := fmt.Appendf(nil, "%x  demo-1.0.tar.gz\n", md5.Sum(one))
		c := newMirror(t, map[string][]byte{
			"/right/demo-1.0.tar.gz": one, "/right/demo-1.0.tar.gz.md5": sum,
			"/wrong/demo-1.0.tar.gz": two, "/wrong/demo-1.0.tar.gz.md5": sum,
			"/page/demo-1.0.tar.gz": one, "/page/demo-1.0.tar.gz.md5": []byte("<html><title>Log in</title>"),
			"/one/linux_amd64/demo-2.0.tar.gz": one, "/one/linux_amd64/demo-2.0.tar.gz.md5": sum,
			"/one/linux_arm64/demo-2.0.tar.gz": two, "/one/linux_arm64/demo-2.0.tar.gz.md5": sum,
		})
		at, same, gone := a.URL+"/f", b.URL+"/same", "http://127.0.0.1:1/f"
		for name, c := range map[string]struct {
			file    []byte
			refused string // part of the note; empty: all of it is taken
			moved   string // version of everyone's assignment after --partial
		}{
			"all of it is there":                       {oldConfig("demo", "1.0", at), "", "1.0"},
			"with a directory for each arch":           {oldConfig("demo", "2.0", at), "", "2.0"},
			"the same at two addresses":                {oldConfig("demo", "1.0", at, "lg-", "1.0", same), "", "1.0"},
			"another content at the second address":    {oldConfig("demo", "1.0", at, "lg-", "1.0", b.URL+"/f"), "have different content for linux_amd64", "0.9"},
			"an address that does not answer":          {oldConfig("demo", "3.0", gone), "its tarball could not be taken", "0.9"},
			"one of two addresses that doesn't answer": {oldConfig("demo", "1.0", at, "lg-", "1.0", gone), "its tarball could not be taken", "0.9"},
			"an .md5 file that agrees":                 {oldConfig("demo", "1.0", c.URL+"/right"), "", "1.0"},
			"an .md5 file of something else":           {oldConfig("demo", "1.0", c.URL+"/wrong"), "its .md5 file says", "0.9"},
			"a page in place of an .md5 file":          {oldConfig("demo", "1.0", c.URL+"/page"), "it is a page for people", "0.9"},
			"an .md5 file that fits one of two":        {oldConfig("demo", "2.0", c.URL+"/one"), "its .md5 file says", "0.9"},
			"one of two addresses contradicted":        {oldConfig("demo", "1.0", at, "lg-", "1.0", c.URL+"/wrong"), "its .md5 file says", "0.9"},
			"no address":                               {oldConfig("demo", "3.0", ""), "it has no tarball address", "0.9"},
		} {
			t.Run(name, func(t *testing.T) {
				conf := conf
				conf.Data = t.TempDir()
				if conf.DB != "" {
					conf.DB = pgtest.NewSchema(t)
				}
				r := start(t, conf)
				r.publish(t, "demo", "0.9")
				r.deploy(t, "demo", "0.9")
				everyone := func() string {
					as, err := r.admin.Assignment(t.Context(), "demo", api.Scope{Kind: api.ScopeEveryone})
					if err != nil {
						t.Fatal(err)
					}
					return as.Version
				}
				dry, err := r.admin.ImportConfig(t.Context(), c.file, api.ImportOptions{DryRun: true})
				if err != nil || dry.Applied || refusedText(dry) == "" != (c.refused == "") {
					t.Fatalf("dry run: %+v, %v", dry, err)
				}
				got, err := r.admin.ImportConfig(t.Context(), c.file, api.ImportOptions{})
				if err != nil || got.Applied != (c.refused == "") || !strings.Contains(refusedText(got), c.refused) {
					t.Fatalf("got applied %v, refused %q, %v; want %q", got.Applied, refusedText(got), err, c.refused)
				}
				if groups, err := r.admin.Groups(t.Context(), api.ListOptions{}); c.refused != "" && (err != nil || len(groups.Items) > 0 || everyone() != "0.9") {
					t.Errorf("it was half taken: %+v, everyone %s, %v", groups.Items, everyone(), err)
				}
				if got, err = r.admin.ImportConfig(t.Context(), c.file, api.ImportOptions{Partial: true}); err != nil || !got.Applied {
					t.Fatalf("a part of it: %+v, %v", got, err)
				}
				if everyone() != c.moved {
					t.Errorf("everyone is told %s, want %s", everyone(), c.moved)
				}
			})
		}
	})
}

func refusedText(r api.ImportReport) string {
	data, _ := json.Marshal(r.Import.Refused)
	if len(r.Import.Refused) == 0 {
		return ""
	}
	return string(data)
}

// The older servers of one family ask for a login and have an authority of
// their own. The login goes to them and to nobody else.
func TestAnImportLogsInWhereItIsToldTo(t *testing.T) {
	packed := tarball(t, nil)
	elsewhere := newMirror(t, map[string][]byte{"/x.tar.gz": packed})
	owl := &mirror{user: "owl", password: "s3cret", files: map[string][]byte{"/demo-1.0.tar.gz": packed, "/demo-2.0.tar.gz": []byte(elsewhere.URL + "/x.tar.gz")}}
	owl.Server = httptest.NewTLSServer(owl)
	t.Cleanup(owl.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: owl.Certificate().Raw}))
	host := strings.TrimPrefix(owl.URL, "https://")
	as := api.FetchAs{User: "owl", Password: "s3cret", CA: ca}
	for name, c := range map[string]struct {
		file    []byte
		as      api.FetchAs
		refused string
	}{
		"with login and authority":   {oldConfig("demo", "1.0", owl.URL), as, ""},
		"with the login in the file": {oldConfig("demo", "1.0", "https://owl:s3cret@"+host), api.FetchAs{CA: ca}, ""},
		"without a login":            {oldConfig("demo", "1.0", owl.URL), api.FetchAs{CA: ca}, "give --user"},
		"without the authority":      {oldConfig("demo", "1.0", owl.URL), api.FetchAs{User: "owl", Password: "s3cret"}, "give --ca-file"},
		"sent on to another place":   {oldConfig("demo", "2.0", owl.URL), as, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, newConfig(t))
			got, err := r.admin.ImportConfig(t.Context(), c.file, api.ImportOptions{As: c.as})
			if err != nil || !strings.Contains(refusedText(got), c.refused) || got.Applied != (c.refused == "") {
				t.Errorf("got %+v, %v; want refused %q", got, err, c.refused)
			}
			audit, err := r.admin.Audit(t.Context(), api.ListOptions{})
			if told, _ := json.Marshal([]any{got, audit}); err != nil || strings.Contains(string(told), "s3cret") {
				t.Errorf("the password is told: %s, %v", told, err)
			}
		})
	}
	r := start(t, newConfig(t))
	both := oldConfig("demo", "1.0", owl.URL, "lg-", "1.0", elsewhere.URL)
	if p := problem(second(r.admin.ImportConfig(t.Context(), both, api.ImportOptions{As: as}))); p == nil || !strings.Contains(p.Hint, "--user NAME@HOST") {
		t.Errorf("a login for one of two places: got %+v", p)
	}
	art, err := r.admin.RegisterArtifact(t.Context(), "demo", "1.0", api.NewArtifact{From: owl.URL + "/demo-1.0.tar.gz", As: as})
	if err != nil || art.External != "" || art.Arch != "linux_amd64" {
		t.Errorf("published from there: %+v, %v", art, err)
	}
	if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz", nil); !slices.Equal(got.body, packed) {
		t.Errorf("hosts get %d, %d bytes", got.StatusCode, len(got.body))
	}
	if len(elsewhere.logins) > 0 {
		t.Errorf("the login was sent on to another place: %q", elsewhere.logins)
	}
}

func TestAnAssignmentDoesNotMoveToWhatIsNotPublished(t *testing.T) {
	r := start(t, newConfig(t))
	r.publish(t, "demo", "1.0")
	r.deploy(t, "demo", "1.0")
	if _, err := r.admin.PutReleaseNotes(t.Context(), "demo", "2.0", "to come"); err != nil {
		t.Fatal(err)
	}
	as := api.Assignment{Agent: "demo", Version: "2.0", Scope: api.Scope{Kind: api.ScopeEveryone}}
	if p := problem(second(r.admin.PutAssignment(t.Context(), as))); p == nil || !strings.Contains(p.Hint, "publish demo-2.0.tar.gz") {
		t.Errorf("got %+v, want a refusal", p)
	}
	if as, err := r.admin.Assignment(t.Context(), "demo", as.Scope); err != nil || as.Version != "1.0" {
		t.Errorf("it moved to %s, %v", as.Version, err)
	}
}
