package meta_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta"
)

// replay answers every connection with recorded bytes.
func replay(t *testing.T, files ...string) (address string, requests *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	requests = new(atomic.Int32)
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			requests.Add(1)
			data, err := os.ReadFile(filepath.Join("..", "testdata", "interop", files[min(n, len(files)-1)]))
			if err != nil {
				panic(err)
			}
			req, err := http.ReadRequest(bufioReader(conn))
			if err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = conn.Write(data)
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), requests
}

func TestInteropRepliesOfTheAncestors(t *testing.T) {
	falcon := meta.DesiredAgent{Name: "falcon-agent", Version: "5.1.3", Tarball: "http://127.0.0.1:22999/falcon", Cmd: "start"}
	coraldane := falcon
	coraldane.MD5, coraldane.RunUser, coraldane.WorkDir = "490ac172dabecc867289079d48e84a66", "nobody", "/srv/open-falcon"
	coraldane.ConfigFileName, coraldane.ConfigRemoteURL = "cfg.json", "http://127.0.0.1:22999/conf/falcon-agent-cfg.json"
	openfalcon := falcon
	openfalcon.MD5 = "http://127.0.0.1:22999/md5"
	cases := []struct {
		name    string
		files   []string
		agents  []meta.DesiredAgent
		dialect meta.Dialect
		err     string
	}{
		{"coraldane: one agent", []string{"coraldane-meta-one"}, []meta.DesiredAgent{coraldane}, meta.DialectV1, ""},
		{"coraldane: none", []string{"coraldane-meta-none"}, nil, meta.DialectV1, ""},
		{"coraldane: success false, bad JSON", []string{"coraldane-meta-bad-json"}, nil, "", "parseForm error"},
		{"coraldane: success false, no hostname", []string{"coraldane-meta-no-hostname"}, nil, "", "the server refused: hostname is blank"},
		{"coraldane: login page on both paths", []string{"coraldane-meta-login-redirect"}, nil, "", "HTTP 302 to /user/login, which is not followed"},
		{"open-falcon: closed connection, then one agent", []string{"openfalcon-meta-unknown-path", "openfalcon-meta-one"}, []meta.DesiredAgent{openfalcon}, meta.DialectLegacy, ""},
		{"open-falcon: closed connection, then null", []string{"openfalcon-meta-unknown-path", "openfalcon-meta-null"}, nil, meta.DialectLegacy, ""},
		{"open-falcon: 400 on the newer path, then one agent", []string{"openfalcon-meta-unknown-path-bearer", "openfalcon-meta-one"}, []meta.DesiredAgent{openfalcon}, meta.DialectLegacy, ""},
		{"a 302 first, then open-falcon", []string{"coraldane-meta-login-redirect", "openfalcon-meta-one"}, []meta.DesiredAgent{openfalcon}, meta.DialectLegacy, ""},
		{"open-falcon: 400 no hostname", []string{"openfalcon-meta-unknown-path", "openfalcon-meta-no-hostname"}, nil, "", "HTTP 400: hostname is blank"},
		{"open-falcon: 400 bad JSON", []string{"openfalcon-meta-unknown-path", "openfalcon-meta-bad-json"}, nil, "", "HTTP 400: body format error"},
		{"open-falcon: 400 blank", []string{"openfalcon-meta-unknown-path", "openfalcon-meta-blank-body"}, nil, "", "HTTP 400: body is blank"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.files {
				c.files[i] += ".reply.http"
			}
			address, _ := replay(t, c.files...)
			r, err := client(t, meta.ClientConfig{Servers: []string{address}}).Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("error %v; want %q", err, c.err)
			}
			if diff := cmp.Diff(c.agents, r.DesiredAgents, emptyIsNil()); diff != "" || r.Dialect != c.dialect {
				t.Fatalf("dialect %q, want %q; agents differ: %s", r.Dialect, c.dialect, diff)
			}
		})
	}
}

func TestInteropAddressesOfTheAncestors(t *testing.T) {
	a := meta.DesiredAgent{Name: "falcon-agent", Version: "5.1.3", Tarball: "http://r.example/falcon/", MD5: "490AC172dabecc867289079d48e84a66"}
	got := fmt.Sprint(a.TarballURL(meta.DialectV1, "linux_386"), " ", a.MD5URL(meta.DialectV1, "linux_386"), " ", a.MD5Digest(meta.DialectV1), " ", a.TarballURL(meta.DialectLegacy, "linux_386"))
	want := "http://r.example/falcon/linux_386/falcon-agent-5.1.3.tar.gz  490ac172dabecc867289079d48e84a66 http://r.example/falcon/falcon-agent-5.1.3.tar.gz"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
