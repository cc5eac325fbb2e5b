package meta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// exampleServer wants one agent of every host that reports, until a host shows
// that it knows.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const tag = `"17"`
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
		_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{Interval: 60, DesiredAgents: []meta.DesiredAgent{
			{Name: "probe", Version: "1.4.0", Tarball: "https://releases.example.net/probe", Cmd: meta.CmdStart},
			{Name: "../etc", Version: "1.0.0", Tarball: "https://releases.example.net/etc", Cmd: meta.CmdStart},
		}})
	}))
}

// A heartbeat says what a host has and learns what it shall have.
func ExampleClient_Beat() {
	server := exampleServer()
	defer server.Close()
	client, err := meta.NewClient(meta.ClientConfig{Servers: []string{server.URL}, Token: "om_secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	reply, err := client.Beat(context.Background(), meta.HeartbeatRequest{
		Hostname: "web-1", Arch: "linux_amd64", Protocol: meta.Protocol,
		RealAgents: []meta.RealAgent{{Name: "probe", Version: "1.3.2", Status: meta.StatusStarted}},
	})
	if err != nil {
		fmt.Println(err) // of every server; meta.RetryAfter says how long to wait
		return
	}
	for _, agent := range reply.DesiredAgents {
		fmt.Println(agent.Cmd, agent.Name, agent.Version)
		fmt.Println(agent.TarballURL(reply.Dialect, "linux_amd64"))
	}
	for _, bad := range reply.Rejected {
		fmt.Println("rejected:", bad.Name)
	}
	// Output:
	// start probe 1.4.0
	// https://releases.example.net/probe/linux_amd64/probe-1.4.0.tar.gz
	// rejected: ../etc
}

// Who keeps the last reply is only told that it still holds.
func ExampleReply_unchanged() {
	server := exampleServer()
	defer server.Close()
	client, err := meta.NewClient(meta.ClientConfig{Servers: []string{server.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	var wanted meta.Reply
	for range 2 {
		reply, err := client.Beat(context.Background(), meta.HeartbeatRequest{Hostname: "web-1"})
		if err != nil {
			fmt.Println(err)
			return
		}
		if !reply.Unchanged {
			wanted = reply
		}
		fmt.Println(reply.Unchanged, len(wanted.DesiredAgents))
	}
	// Output:
	// false 1
	// true 1
}

// A server that has too much to do says when it wants to be asked again.
func ExampleRetryAfter() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	client, err := meta.NewClient(meta.ClientConfig{Servers: []string{server.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, err = client.Beat(context.Background(), meta.HeartbeatRequest{Hostname: "web-1"})
	fmt.Println(meta.RetryAfter(err))
	// Output: 1m30s
}

// Probe asks whether a server would take this host's heartbeats, and reports
// nothing to it.
func ExampleClient_Probe() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{ErrorMessage: "the token is not known"})
	}))
	defer server.Close()
	client, err := meta.NewClient(meta.ClientConfig{Servers: []string{server.URL}, Token: "om_typo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for _, found := range client.Probe(context.Background(), "web-1", 10*time.Second) {
		fmt.Println(found.Refused(), found.Message)
	}
	// Output: true the token is not known
}

func ExampleDesiredAgent_Validate() {
	err := meta.DesiredAgent{Name: "probe", Version: "../1.0", Tarball: "https://releases.example.net", Cmd: meta.CmdStart}.Validate()
	fmt.Println(err)
	// Output: version "../1.0" is not allowed: want ^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$
}

func ExampleCompareVersions() {
	fmt.Println(meta.CompareVersions("1.9.0", "1.10.0") == meta.Older)
	fmt.Println(meta.CompareVersions("nightly", "1.10.0") == meta.Different)
	// Output:
	// true
	// true
}
