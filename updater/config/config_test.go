package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
)

func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cfg.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path)
}

func TestConfigNeedsOnlyAServer(t *testing.T) {
	c, err := load(t, `{"server": "meta.example:2000"}`)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	dir := filepath.Dir(c.Path)
	if c.Hostname != host || c.Interval != 5*time.Minute || c.WorkDir != dir || c.VarDir != filepath.Join(dir, "var") ||
		c.Concurrency != 4 || c.Keep != 2 || c.Probation != 30*time.Second || c.Dialect != meta.DialectAuto || c.HTTP.Enabled {
		t.Errorf("defaults are %+v", c)
	}
}

func TestConfigServers(t *testing.T) {
	want := []string{"a.example:2000", "https://b.example"}
	for _, text := range []string{
		`{"server": "a.example:2000,https://b.example"}`,
		`{"server": " a.example:2000 , https://b.example, "}`,
		`{"server": ["a.example:2000", "https://b.example"]}`,
	} {
		c, err := load(t, text)
		if diff := cmp.Diff(want, c.Servers); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
}

func TestConfigValues(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cfg.json")
	text := `{
		"server": "https://meta.example", "interval": 90, "probation": "2m", "stall_timeout": 1.5,
		"max_download_rate": "10MB", "max_download_size": "1.5 GiB", "reserve": 0, "max_unpacked_size": 1000,
		"env": {"HTTP_PROXY": "http://p"}, "labels": {"rack": "a 7"}, "log": {"max_size": "2MB", "max_backups": 0},
		"token_file": "token", "ca_file": "ca.pem", "work_dir": "agents", "var_dir": "/var/lib/x/../ops-updater"}`
	writeFile(t, path, text)
	writeFile(t, filepath.Join(dir, "token"), "sesame\n")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name      string
		got, want any
	}{
		{"interval", c.Interval, 90 * time.Second},
		{"probation", c.Probation, 2 * time.Minute},
		{"stall_timeout", c.StallTimeout, 1500 * time.Millisecond},
		{"max_download_rate", c.MaxDownloadRate, int64(10 << 20)},
		{"max_download_size", c.MaxDownloadSize, int64(3 << 29)},
		{"max_unpacked_size", c.MaxUnpackedSize, int64(1000)},
		{"reserve", c.Reserve, int64(0)},
		{"env", c.Env["HTTP_PROXY"], "http://p"},
		{"labels", c.Labels["rack"], "a 7"},
		{"log.max_size", c.Log.MaxSize, int64(2 << 20)},
		{"token", c.Token, "sesame"},
		{"ca_file", c.TLS.CAFile, filepath.Join(dir, "ca.pem")},
		{"work_dir", c.WorkDir, filepath.Join(dir, "agents")},
		{"var_dir", c.VarDir, "/var/lib/ops-updater"},
	} {
		if v.got != v.want {
			t.Errorf("%s is %v; want %v", v.name, v.got, v.want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigMistakesNameLineKeyAndRemedy(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "{\n\"server\": \"a:1\",\n\"intervl\": 60}", `cfg.json:3: unknown key "intervl"; did you mean "interval"?`},
		{"unknown key, other case", `{"Server": "a:1"}`, `unknown key "Server"; did you mean "server"?`},
		{"unknown key near nothing", `{"xyzzyplugh": 1}`, `unknown key "xyzzyplugh"; docs/CONFIG.md lists`},
		{"zero interval", `{"interval": 0}`, `interval: want seconds from 1 to`},
		{"negative interval", `{"interval": -60}`, `interval: want seconds from 1 to`},
		{"no probation", `{"probation": 0}`, `probation: want seconds from 0.001 to`},
		{"huge interval", `{"interval": 1e300}`, `interval: want seconds from 1 to`},
		{"interval of the wrong type", `{"interval": [60]}`, `interval: want seconds from 1 to 604800, such as 60 or "5m", got [60]`},
		{"null is absent", `{"interval": null}`, `server is missing`},
		{"bad size", `{"reserve": "10 parsecs"}`, `reserve: want bytes of at least 0, such as 1048576 or "10MB"`},
		{"negative size", `{"reserve": -1}`, `reserve: want bytes`},
		{"bad number", `{"concurrency": 0}`, `concurrency: want a whole number from 1 to 256, got 0`},
		{"fraction", `{"keep": 2.5}`, `keep: want a whole number`},
		{"bad word", `{"dialect": "v2"}`, `dialect: want one of ["auto" "v1" "legacy"], got "v2"`},
		{"bad ip", `{"ip": "10.0.0"}`, `ip: want an IP address`},
		{"bad listen", `{"http": {"listen": "2001"}}`, `http.listen: want host:port`},
		{"bad env name", `{"env": {"A-B": "x"}}`, `env: "A-B" is not a name`},
		{"env value of the wrong type", `{"env": {"A": 1}}`, `env: want an object of strings`},
		{"http as a list", `{"http": []}`, `http: want an object`},
		{"line break in a text", `{"hostname": "a\nb"}`, `hostname: want one line of text`},
		{"token with spaces", `{"token": "a b"}`, `token: want printable characters`},
		{"credential in the address", `{"server": "http://u:p@a.example"}`, `use a token instead`},
		{"bad proxy", `{"proxy": "proxy.example:3128"}`, `proxy: want an address such as`},
		{"missing token_file", `{"token_file": "nowhere"}`, `token_file: `},
		{"half a certificate", `{"server": "a:1", "cert_file": "x"}`, `cert_file and key_file are wanted together`},
		{"empty file", ``, `cfg.json:1: the file ends in the middle`},
		{"not an object", `[]`, `want an object`},
		{"trailing text", `{"server": "a:1"} x`, `want nothing after the closing }`},
		{"bad syntax", "{\n\"server\": \"a:1\"\n\"debug\": true}", `cfg.json:3: not valid JSON`},
		{"byte order mark", "\xef\xbb\xbf{\"server\": \"a:1\"}", `cfg.json:1: not valid JSON: it begins with a byte order mark`},
		{"UTF-16 with a mark", "\xff\xfe{\x00\"\x00s\x00", `it is in UTF-16`},
		{"UTF-16 without a mark", "{\x00\"\x00s\x00\"\x00:\x001\x00}\x00", `it is in UTF-16`},
		{"big-endian UTF-16", "\x00{\x00\"\x00s\x00\"\x00:\x001\x00}", `it is in UTF-16`},
		{"NULs", strings.Repeat("\x00", 100), `nothing but NUL bytes, as a power cut`},
		{"NULs at the end", "{\n\"server\": \"a:1\",\n\x00\x00\x00", `cfg.json:3: not valid JSON: it holds NUL bytes`},
		{"comment", "{\n// the server\n\"server\": \"http://a:1\"}", `cfg.json:2: not valid JSON: comments are not allowed`},
		{"comment of a shell", "{\"server\": \"a:1\", # the server\n\"debug\": true}", `cfg.json:1: not valid JSON: comments are not allowed`},
		{"comment at the end", "{\"server\": \"a:1\"}\n/* end */", `cfg.json:2: not valid JSON: comments are not allowed`},
		{"comma too many", "{\"server\": \"a:1\",\n\"debug\": true,\n}", `cfg.json:2: not valid JSON: there is a comma too many`},
		{"quotes of a word processor", "{“server”: “a:1”}", `“ is not the quote of JSON`},
		{"single quotes", "{'server': 'a:1'}", `JSON has double quotes`},
		{"invisible space", "{\"server\":\u00a0\"a:1\"}", `invisible character (U+00A0)`},
		{"Latin-1", "{\"server\": \"a:1\"} \xe4", `it is not in UTF-8`},
		{"set twice", `{"debug": true, "debug": false}`, `debug is set twice`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

func TestConfigReferenceExplainsEveryKey(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "CONFIG.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys() {
		if !strings.Contains(string(data), "`"+key+"`") {
			t.Errorf("docs/CONFIG.md does not explain %s", key)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"server": "meta.example:2000", "interval": 300, "http": {"enabled": true, "listen": "0.0.0.0:2001"}}`)
	f.Add(`{"server": ["a:1", "b:2"], "env": {"A": "b"}, "reserve": "10MB", "probation": "5m"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text)
		if err == nil && (len(c.Servers) == 0 || c.Interval < time.Second || c.Keep < 2 || c.Hostname == "") {
			t.Errorf("%q was accepted as %+v", text, c)
		}
	})
}
