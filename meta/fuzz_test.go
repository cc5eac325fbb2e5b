package meta_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// FuzzParseMD5File: what is taken for a digest is one, and is read again as itself.
func FuzzParseMD5File(f *testing.F) {
	for _, s := range []string{"490ac172dabecc867289079d48e84a66  a.tar.gz\n", `\490AC172DABECC867289079D48E84A66  a\\b`, "<html><title>Login", "", "490ac172", strings.Repeat("0", 33)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		md5, err := meta.ParseMD5File(data)
		if err != nil {
			if md5 != "" || err.Error() == "" {
				t.Fatalf("%q is refused as %q: %v", data, md5, err)
			}
			return
		}
		if len(md5) != 32 || strings.Trim(md5, "0123456789abcdef") != "" {
			t.Fatalf("%q has the digest %q", data, md5)
		}
		if again, err := meta.ParseMD5File([]byte(md5)); again != md5 || err != nil {
			t.Fatalf("%q is read as %q, %v", md5, again, err)
		}
	})
}

// FuzzServerURL: what is taken is an address of http or https without credentials,
// query or fragment, and is taken again as itself.
func FuzzServerURL(f *testing.F) {
	for _, s := range []string{"meta.example:2000", "https://meta.example/x/", "http://u:p@h", "ftp://h", "h:0", "[::1]:80", "http://h?x", "h\n", "://", "http://h/%2e%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, server string) {
		got, err := meta.ServerURL(server)
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q was taken as %q: %v", server, got, err)
		}
		if again, err := meta.ServerURL(got); err != nil || again != got {
			t.Fatalf("%q became %q, and that %q, %v", server, got, again, err)
		}
	})
}

// FuzzRedactURL: no password is told, and what is told already stays as it is.
func FuzzRedactURL(f *testing.F) {
	for _, s := range []string{"https://u:secret@h/p?token=secret", "not a url", "http://h/", "//u:secret@h", "https://h/?X-Amz-Signature=secret", "http://u:secret@h:port/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		said := meta.RedactURL(raw)
		if again := meta.RedactURL(said); again != said {
			t.Fatalf("%q became %q, and that %q", raw, said, again)
		}
		if u, err := url.Parse(raw); err == nil && u.User != nil && u.Host != "" {
			if password, has := u.User.Password(); has && len(password) > 8 && !strings.Contains(u.Host+u.Path+u.User.Username()+u.RawQuery+u.Fragment, password) && strings.Contains(said, password) {
				t.Fatalf("%q was told as %q", raw, said)
			}
		}
	})
}

// FuzzCompareVersions: the order is one: turned around it is the other way round.
func FuzzCompareVersions(f *testing.F) {
	for _, p := range [][2]string{{"1.0.0", "1.0.1"}, {"1.0", "1.0.0"}, {"1.0.0-rc1", "1.0.0"}, {"x", "y"}, {"v1", "1"}, {"99999999999999999999", "1"}, {"1.0+a", "1.0+b"}} {
		f.Add(p[0], p[1], "1.2")
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		opposite := map[meta.Order]meta.Order{meta.Different: meta.Different, meta.Older: meta.Newer, meta.Equal: meta.Equal, meta.Newer: meta.Older}
		ab := meta.CompareVersions(a, b)
		if meta.CompareVersions(b, a) != opposite[ab] || (ab == meta.Equal) != (a == b) {
			t.Fatalf("%q to %q is %v, turned around %v", a, b, ab, meta.CompareVersions(b, a))
		}
		if ab == meta.Older && meta.CompareVersions(b, c) == meta.Older && meta.CompareVersions(a, c) != meta.Older {
			t.Fatalf("%q is older than %q, that than %q, but the first is %v to the last", a, b, c, meta.CompareVersions(a, c))
		}
	})
}

// FuzzNames: a name or version that is valid is one element of a path and no option;
// a host's name is none of what a path or a terminal would make something of.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"falcon-agent", "../x", "-x", ".version", "1.0.0+b", "a/b", "liutian-01", "host\x1b", strings.Repeat("a", 300), "linux_amd64"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bad := s == "" || s[0] == '-' || s[0] == '.' || strings.ContainsAny(s, "/\\ \t\r\n\x00\x1b:*?\"'`$") || strings.ToValidUTF8(s, "") != s
		if bad && (meta.ValidName(s) || meta.ValidArch(s)) {
			t.Fatalf("%q is valid as a name or arch", s)
		}
		if meta.ValidName(s) && len(s) > 128 {
			t.Fatalf("a name of %d bytes is valid", len(s))
		}
		if meta.ValidHostname(s) && (s == "" || len(s) > 253 || strings.ContainsAny(s, "/\\ \t\r\n\x00\x1b")) {
			t.Fatalf("%q is valid as a host's name", s)
		}
	})
}

// FuzzAddresses: a list of addresses survives being written and read.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{`[]`, `null`, `["http://a","http://b"]`, `["a\nb"]`, `[""]`, `{}`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, again meta.Addresses
		if json.Unmarshal(data, &a) != nil {
			return
		}
		said, err := json.Marshal(a)
		if err != nil || json.Unmarshal(said, &again) != nil || again != a {
			t.Fatalf("%q became %q, and that %q: %v", data, a, again, err)
		}
	})
}

// FuzzRetryAfter: whatever the header and the server's clock say, nobody waits less
// than nothing or for more than a day.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "0x10", "-9223372037"} {
		f.Add(s, "")
		f.Add(s, "Mon, 01 Jan 0001 00:00:00 GMT")
	}
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, after, date string) {
		wait := meta.RetryAfterIn(http.Header{"Retry-After": {after}, "Date": {date}}, now)
		if wait < 0 || wait > 24*time.Hour {
			t.Fatalf("Retry-After %q, Date %q: %v", after, date, wait)
		}
	})
}

// FuzzValidate: an agent that passes leads nowhere but where its name says.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(`{"name":"a","version":"1","tarball":"http://h/r","md5":"","cmd":"start","workDir":"/opt/x","configFileName":"cfg.json","configRemoteUrl":"http://h/c"}`))
	f.Add([]byte(`{"name":"a","version":"1","tarball":"http://h/r","cmd":"start","workDir":"/opt/../etc"}`))
	f.Add([]byte(`{"name":"a","version":"1","configFileName":"../control","configRemoteUrl":"file:///etc/passwd"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a meta.DesiredAgent
		if json.Unmarshal(data, &a) != nil || a.Validate() != nil {
			return
		}
		switch {
		case !meta.ValidName(a.Name), a.WorkDir != "" && (a.WorkDir[0] != '/' || strings.Contains(a.WorkDir+"/", "/../") || strings.ContainsAny(a.WorkDir, "\x00\n")):
			t.Fatalf("%+v was taken", a)
		case a.ConfigFileName != "" && a.ConfigRemoteURL != "" && (strings.HasPrefix(a.ConfigFileName, "/") || strings.Contains("/"+a.ConfigFileName+"/", "/../") || a.ConfigFileName == "control"):
			t.Fatalf("the configuration of %+v was taken", a)
		}
		for _, address := range a.TarballURLs(meta.DialectV1, "linux_amd64") {
			u, err := url.Parse(address)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" {
				t.Fatalf("%+v is fetched from %q: %v", a, address, err)
			}
		}
	})
}
