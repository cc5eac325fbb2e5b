package updater_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// notebook is a log that may be read while it is written.
type notebook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func TestSecretsInAddressesAreShownNowhere(t *testing.T) {
	secrets := []string{"s3cr3t", "s1gn4tur3", "t0k3n"}
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/away"):
			http.Redirect(w, r, "ftp://bob:s3cr3t@127.0.0.1/x?sig=s1gn4tur3", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("x"))
		case strings.HasPrefix(r.URL.Path, "/big"):
			_, _ = w.Write(make([]byte, 8<<10))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(files.Close)
	with := func(path string) string {
		return strings.Replace(files.URL, "http://", "http://bob:s3cr3t@", 1) + path + "?X-Amz-Signature=s1gn4tur3&t0k3n"
	}
	digest := strings.Repeat("0", 32)
	wanted := []meta.DesiredAgent{
		{Name: "missing", Version: "1", Tarball: with("/missing"), MD5: digest},
		{Name: "no-digest", Version: "1", Tarball: with("/missing"), MD5: with("/md5")},
		{Name: "away", Version: "1", Tarball: with("/away"), MD5: digest},
		{Name: "cut", Version: "1", Tarball: with("/cut"), MD5: digest},
		{Name: "wrong", Version: "1", Tarball: with("/big"), MD5: digest},
		{Name: "big", Version: "1", Tarball: with("/big"), MD5: digest, Size: 5},
		{Name: "closed", Version: "1", Tarball: "http://t0k3n@127.0.0.1:1/x?sig=s1gn4tur3", MD5: digest},
		{Name: "mirrors", Version: "1", Tarball: with("/missing"), Mirrors: meta.AddressesOf(with("/cut"), "http://t0k3n@127.0.0.1:1/x?sig=s1gn4tur3", with("/away")), MD5: digest},
		{Name: "not-mirror", Version: "1", Tarball: with("/missing"), Mirrors: meta.AddressesOf("ftp://bob:s3cr3t@127.0.0.1/x?sig=s1gn4tur3"), MD5: digest},
		{Name: "not-web", Version: "1", Tarball: "ftp://bob:s3cr3t@127.0.0.1/x?sig=s1gn4tur3", MD5: digest},
		{Name: "not-url", Version: "1", Tarball: "http://bob:s3cr3t@127.0.0.1:port/%zz", MD5: digest},
	}
	for i := range wanted {
		wanted[i].Cmd = meta.CmdStart
	}
	var reports notebook
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Write(&reports)
		_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{DesiredAgents: wanted})
	}))
	t.Cleanup(server.Close)

	dir := t.TempDir()
	write(t, filepath.Join(dir, "cfg.json"), `{"server":"`+server.URL+`","log_level":"debug","retries":0,"stall_timeout":"5s"}`)
	c, err := config.Load(filepath.Join(dir, "cfg.json"))
	must(t, err)
	level := zerolog.GlobalLevel()
	t.Cleanup(func() { zerolog.SetGlobalLevel(level) })
	var log notebook
	agents, err := updater.Once(t.Context(), c, zerolog.New(&log), func([]updater.Progress) {})
	must(t, err)
	if len(agents) != len(wanted) {
		t.Errorf("%d agents are reported; want %d", len(agents), len(wanted))
	}
	for _, a := range agents {
		if a.Error == "" {
			t.Errorf("%s: no error", a.Name)
		}
	}
	said, err := json.Marshal(agents)
	must(t, err)
	if !strings.Contains(log.String(), "heartbeat came back") || !strings.Contains(log.String(), "bob:xxxxx@") {
		t.Errorf("the log does not show the reply: %s", log.String())
	}
	for what, text := range map[string]string{"log": log.String(), "status": string(said), "heartbeat": reports.String()} {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("the %s shows %s: …%s…", what, secret, text[max(i-200, 0):min(i+100, len(text))])
			}
		}
	}
	for _, a := range wanted { // blocks outlive what is wanted
		text, err := os.ReadFile(filepath.Join(dir, "var/journal", a.Name+".json"))
		if err != nil && a.Name[:3] != "not" { // what is refused has none
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("the journal of %s holds %s:\n%s", a.Name, secret, text)
			}
		}
	}
}

func TestSecretsOfTheConfigurationAreInNoError(t *testing.T) {
	for _, file := range []string{
		`{"server":"a:1","proxy":"ftp://bob:s3cr3t@proxy"}`,
		`{"server":"a:1","proxy":{"url":"http://bob:s3cr3t@proxy"}}`,
		`{"server":"a:1","token":["s3cr3t"]}`,
		`{"server":"a:1","env":"PASSWORD=s3cr3t"}`,
		`{"server":"http://bob:s3cr3t@a:1"}`,
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "cfg.json"), file)
		_, err := config.Load(filepath.Join(dir, "cfg.json"))
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v; want an error without the secret", file, err)
		}
	}
}

func TestAConfigsAddressIsNotInItsErrors(t *testing.T) {
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	a.ConfigFileName, a.ConfigRemoteURL = "cfg.json", strings.Replace(h.origin.URL, "http://", "http://bob:s3cr3t@", 1)+"/cfg?sig=s1gn4tur3"
	h.origin.put("cfg", []byte("{}"))
	h.apply(a)
	h.runs("falcon", "1.0.0")
	h.origin.mu.Lock()
	delete(h.origin.files, "cfg")
	h.origin.mu.Unlock()
	r := h.await("falcon", "lost its config", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "cannot refresh") })
	if strings.Contains(r.Error, "s3cr3t") || strings.Contains(r.Error, "s1gn4tur3") {
		t.Errorf("report: %+v", r)
	}
}
