package install_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/install"
)

func TestAPageOrAProxyInPlaceOfAFileIsNamed(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("\xef\xbb\xbf\n<!DOCTYPE html><html><head><title>Hotel Wi-Fi: log in</title></head></html>"))
	}
	cases := []struct {
		name    string
		answer  http.HandlerFunc
		reason  string
		says    string
		digests bool // the digest is asked for, not the tarball
	}{
		{"a page for a digest", page, install.CodeBadDigestFile, `page for people ("Hotel Wi-Fi: log in")`, true},
		{"a page for a tarball", page, install.CodeWrongDigest, `page for people ("Hotel Wi-Fi: log in")`, false},
		{"a proxy before a digest", status(http.StatusProxyAuthRequired), install.CodeProxy, "a proxy on the way wants a user and a password", true},
		{"a proxy before a tarball", status(http.StatusProxyAuthRequired), install.CodeProxy, "a proxy on the way wants a user and a password", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, c.answer)
			j := testJob(t, newRelease(t, 1000), server.URL+"/agent-1.0.0.tar.gz")
			j.Limits.Retries = 0
			if c.digests {
				j.MD5, j.SHA256, j.MD5URL = "", "", server.URL+"/agent-1.0.0.tar.gz.md5"
			}
			_, err := install.Run(t.Context(), j, nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v; want %q", err, c.says)
			}
			if e := (*install.Error)(nil); !errors.As(err, &e) || e.Code != c.reason {
				t.Errorf("%v; want the reason %q", err, c.reason)
			}
		})
	}
}
