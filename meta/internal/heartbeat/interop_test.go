package heartbeat_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
)

// Requests that the ancestors' own programs sent, replayed byte for byte; and
// our errors beside those of the ancestors' servers.
func TestRecordedClientsAreAnswered(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/interop/*.request.http")
	if err != nil || len(files) < 5 {
		t.Fatalf("recorded requests: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			recorded, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(recorded.Body)
			if err != nil {
				t.Fatal(err)
			}
			f := newFleetIn("/srv/agents", 1) // an original sidecar must be told one
			s := newServer(t, heartbeat.Options{Fleet: f})
			resp, reply := sent{path: recorded.URL.Path, body: string(body)}.to(t, s)
			checkReply(t, recorded.URL.Path, resp.StatusCode, reply)
			var said meta.HeartbeatRequest
			if err := json.Unmarshal(body, &said); err != nil {
				t.Fatal(err)
			}
			host, known := f.Host(said.Hostname)
			if !known || len(host.Agents) != len(said.RealAgents) {
				t.Fatalf("kept %+v of %s", host, body)
			}
			for i, a := range host.Agents {
				if a.Version != said.RealAgents[i].Version || a.Status != strings.TrimSpace(said.RealAgents[i].Status) {
					t.Errorf("kept %+v of %+v", a, said.RealAgents[i])
				}
			}
		})
	}
}

// checkReply reads a reply with the fields its dialect's client knows.
func checkReply(t *testing.T, path string, status int, reply string) {
	t.Helper()
	var resp meta.HeartbeatResponse
	if err := json.Unmarshal([]byte(reply), &resp); err != nil || status != http.StatusOK || len(resp.DesiredAgents) != 1 {
		t.Fatalf("%d %s, %v", status, reply, err)
	}
	a, want := resp.DesiredAgents[0], "http://meta.example/releases/falcon/linux_amd64/falcon-2.0.tar.gz"
	dialect := meta.DialectV1
	if path == meta.PathLegacy {
		dialect = meta.DialectLegacy
	}
	if got := a.TarballURL(dialect, "linux_amd64"); got != want {
		t.Errorf("the client fetches %s; want %s", got, want)
	}
	if got := a.MD5URL(dialect, "linux_amd64"); got != want+".md5" {
		t.Errorf("the client fetches the digest from %s; want %s.md5", got, want)
	}
}

// The status and the words are the older server's; the words are where every
// old client finds them.
func TestErrorsAreInTheWordsOfTheOlderServer(t *testing.T) {
	cases := []struct{ recorded, body string }{
		{"openfalcon-meta-blank-body", ""},
		{"openfalcon-meta-bad-json", "{"},
		{"openfalcon-meta-no-hostname", `{"realAgents":[]}`},
	}
	for _, c := range cases {
		t.Run(c.recorded, func(t *testing.T) {
			raw, err := os.ReadFile("../../../testdata/interop/" + c.recorded + ".reply.http")
			if err != nil {
				t.Fatal(err)
			}
			want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer want.Body.Close()
			text, err := io.ReadAll(want.Body)
			if err != nil {
				t.Fatal(err)
			}
			resp, body := sent{path: meta.PathLegacy, body: c.body}.to(t, newServer(t, heartbeat.Options{}))
			var got struct{ ErrorMessage, Message string }
			words := strings.TrimSpace(string(text))
			if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != want.StatusCode || got.ErrorMessage != words || got.Message != words {
				t.Fatalf("%d %q, %v; the older server says %d %q", resp.StatusCode, body, err, want.StatusCode, text)
			}
		})
	}
}
