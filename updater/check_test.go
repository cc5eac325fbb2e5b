package updater_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
)

func TestCheckFindsWhatIsMissingAndSaysHowToMendIt(t *testing.T) {
	clock := time.Duration(0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(clock).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound) // any answer is a sign of life
	}))
	t.Cleanup(server.Close)
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	const noUser = `{"agents":[{"name":"a","version":"1","cmd":"start","runUser":"nobody-has-this-name"}],"dialect":"v1"}`
	const broken = `{"agents":[{"name":"a","version":"1","cmd":"start","workDir":"relative"}],"dialect":"v1"}`
	const foreign = `{"agents":[{"name":"a","version":"1","cmd":"start","tarball":"http://theirs.example"}],"dialect":"v1"}`
	key := newReleaseKey(t).Public().String()
	cases := []struct {
		name, config, desired string
		clock                 time.Duration
		verdict               updater.Verdict
		detail, mend          string
	}{
		{"all is well", `{}`, "", 0, updater.VerdictOK, "agrees with", ""},
		{"server away", `{"server":"127.0.0.1:1"}`, "", 0, updater.VerdictWarn, "http://127.0.0.1:1 does not answer: ", "until it answers the last reply holds"},
		{"vouched for by nobody", `{"server":"` + stranger.URL + `"}`, "", 0, updater.VerdictWarn, "does not answer: tls: failed to verify certificate", "ca_file"},
		{"TLS where there is none", `{"server":"` + strings.Replace(server.URL, "http:", "https:", 1) + `"}`, "", 0, updater.VerdictWarn, "does not answer: http: server gave HTTP response to HTTPS client", "begin server with http://"},
		{"no TLS where it is spoken", `{"server":"` + strings.Replace(stranger.URL, "https:", "http:", 1) + `"}`, "", 0, updater.VerdictWarn, "speaks TLS, and is asked without it", "begin server with https://"},
		{"clock behind", `{}`, "", time.Hour, updater.VerdictWarn, "behind that of", "NTP"},
		{"clock ahead", `{}`, "", -time.Hour, updater.VerdictWarn, "ahead of that of", "NTP"},
		{"var_dir below a file", `{"var_dir":"cfg.json/var"}`, "", 0, updater.VerdictFail, "cannot write to ", "set var_dir to another directory"},
		{"work_dir below a file", `{"work_dir":"cfg.json/agents"}`, "", 0, updater.VerdictFail, "cannot write to ", "set work_dir to another directory"},
		{"unknown user", `{}`, noUser, 0, updater.VerdictWarn, "nobody-has-this-name", ""},
		{"unknown user that will be made", `{"create_users":true}`, noUser, 0, updater.VerdictOK, "create_users makes it", ""},
		{"certificate missing", `{"ca_file":"nowhere.pem"}`, "", 0, updater.VerdictFail, "cannot read ca_file", "correct the TLS keys"},
		{"insecure", `{"insecure":true}`, "", 0, updater.VerdictWarn, "insecure is true", ""},
		{"token in the clear", `{"server":"meta.invalid:1","token":"x"}`, "", 0, updater.VerdictWarn, "the token goes to meta.invalid:1 without TLS", ""},
		{"no key counts yet", `{"trust":{"mode":"require","root_keys":["` + key + `"]}}`, "", 0, updater.VerdictOK, "(no key); the list of keys comes with the server's replies", ""},
		{"breaks the contract", `{}`, broken, 0, updater.VerdictWarn, "what the server wants of it is refused: ", "want something else of this host"},
		{"more than the policy allows", `{"policy":{"tarball_hosts":["ours.example"]}}`, foreign, 0, updater.VerdictWarn, "a 1 is refused: policy.tarball_hosts of this host does not list theirs.example", "change policy in cfg.json"},
		{"open to others", `{"http":{"enabled":true,"listen":"0.0.0.0:1"}}`, "", 0, updater.VerdictWarn, "http.listen 0.0.0.0:1 can be reached", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			clock = c.clock
			dir := t.TempDir()
			file := c.config
			if !strings.Contains(file, `"server"`) {
				file = strings.Replace(file, "{", `{"server":"`+server.URL+`",`, 1)
				file = strings.Replace(file, ",}", "}", 1)
			}
			write(t, filepath.Join(dir, "cfg.json"), file)
			if c.desired != "" {
				if err := os.Mkdir(filepath.Join(dir, "var"), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "var", "desired.json"), c.desired)
			}
			loaded, err := config.Load(filepath.Join(dir, "cfg.json"))
			if err != nil {
				t.Fatal(err)
			}
			findings := updater.Check(t.Context(), loaded)
			if updater.Failed(findings) != (c.verdict == updater.VerdictFail) {
				t.Errorf("failed: %v", updater.Failed(findings))
			}
			for _, f := range findings {
				if f.Verdict == c.verdict && strings.Contains(f.Detail, c.detail) && strings.Contains(f.Mend, c.mend) {
					return
				}
			}
			t.Errorf("no %s with %q and %q in %+v", c.verdict, c.detail, c.mend, findings)
		})
	}
}
