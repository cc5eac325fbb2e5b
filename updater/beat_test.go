package updater

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// fakeAgents is an engine that reports what it is told to.
type fakeAgents struct {
	report  []meta.RealAgent
	applied chan plan.Desired
	mark    atomic.Pointer[string]
}

func (f *fakeAgents) Report(context.Context) []meta.RealAgent { return f.report }
func (f *fakeAgents) Unheard()                                {}

func (f *fakeAgents) Apply(d plan.Desired) error {
	f.mark.Store(&d.Mark)
	f.applied <- d
	return nil
}

func (f *fakeAgents) Mark() string {
	if m := f.mark.Load(); m != nil {
		return *m
	}
	return ""
}

// beatRig is a heartbeat loop with a server that hands over each request and
// answers what it is told to.
type beatRig struct {
	beat     *beat
	agents   *fakeAgents
	news     chan struct{}
	requests chan meta.HeartbeatRequest
	answers  chan string // "503 …" for a failure; otherwise the body
	done     chan struct{}
}

const deadline = 30 * time.Second

func startBeat(t *testing.T, interval time.Duration, change func(*config.Config)) *beatRig {
	t.Helper()
	r := &beatRig{
		agents: &fakeAgents{applied: make(chan plan.Desired, 100)}, news: make(chan struct{}, 1),
		requests: make(chan meta.HeartbeatRequest, 100), answers: make(chan string, 100), done: make(chan struct{}),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var request meta.HeartbeatRequest
		_ = json.NewDecoder(q.Body).Decode(&request)
		r.requests <- request
		answer := <-r.answers
		if status, failed := strings.CutPrefix(answer, "503 "); failed {
			w.Header().Set("Retry-After", status)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	config := config.Default()
	config.Servers, config.Hostname, config.Interval = []string{server.URL}, "h", interval
	if change != nil {
		change(&config)
	}
	var err error
	if r.beat, err = newBeat(config, r.agents, &belief{}, r.news, zerolog.Nop(), local.NewMetrics()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		r.beat.sendHeartbeats(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		close(r.answers)
		<-r.done
	})
	return r
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(deadline):
		t.Fatalf("no %s within %v", what, deadline)
		panic("unreachable")
	}
}

const emptyReply = `{"errorMessage":"","desiredAgents":[]}`

func TestNewsMakeAHeartbeatAtOnce(t *testing.T) {
	r := startBeat(t, 24*time.Hour, nil)
	for range 3 {
		r.news <- struct{}{}
		receive(t, "heartbeat", r.requests)
		r.answers <- emptyReply
		receive(t, "reply", r.agents.applied)
	}
}

func TestHeartbeatSaysWhatTheHostIs(t *testing.T) {
	r := startBeat(t, time.Hour, func(c *config.Config) { c.Labels = map[string]string{"rack": "a7"} })
	r.agents.report = []meta.RealAgent{{Name: "a", Status: "started"}}
	r.news <- struct{}{}
	q := receive(t, "heartbeat", r.requests)
	r.answers <- emptyReply
	if q.Hostname != "h" || q.IP != "127.0.0.1" || q.Arch != meta.Arch() || q.Labels["rack"] != "a7" ||
		q.RunUser == "" || q.UpdaterVersion == "" || q.Protocol != meta.Protocol || len(q.RealAgents) != 1 {
		t.Errorf("the request is %+v", q)
	}
}

func TestI6OneBadAgentIsReportedAndTheOthersAreFollowed(t *testing.T) {
	r := startBeat(t, time.Hour, nil)
	r.news <- struct{}{}
	receive(t, "heartbeat", r.requests)
	r.answers <- `{"desiredAgents":[
		{"name":"good","version":"1","tarball":"http://r.example","cmd":"start"},
		{"name":"bad","version":"../1","cmd":"start"},
		{"name":"../evil","version":"1","cmd":"start"}]}`
	d := receive(t, "reply", r.agents.applied)
	if len(d.Agents) != 1 || d.Agents[0].Name != "good" || len(d.Refused) != 2 {
		t.Errorf("the engine was told %+v", d)
	}
	r.news <- struct{}{}
	q := receive(t, "second heartbeat", r.requests)
	r.answers <- emptyReply
	got := map[string]bool{}
	for _, a := range q.RealAgents {
		got[a.Name] = strings.HasPrefix(a.Error, "refused: ")
	}
	if diff := cmp.Diff(map[string]bool{"bad": true, "../evil": true}, got); diff != "" {
		t.Error(diff)
	}
	receive(t, "reply", r.agents.applied)
	r.news <- struct{}{}
	if q := receive(t, "third heartbeat", r.requests); len(q.RealAgents) != 0 {
		t.Errorf("still reported after a good reply: %+v", q.RealAgents)
	}
	r.answers <- emptyReply
}

// TestI7ARefusedEntryIsReportedOfAnAgentThatIsBeingWorkedOn: the engine has told such an
// agent nothing yet when the heartbeat goes out, and the next reply may be good again.
func TestI7ARefusedEntryIsReportedOfAnAgentThatIsBeingWorkedOn(t *testing.T) {
	t.Parallel()
	r := startBeat(t, time.Hour, nil)
	r.agents.report = []meta.RealAgent{
		{Name: "working", Phase: meta.PhaseStarting},
		{Name: "failing", Phase: meta.PhaseDownloading, Error: "no space", Reason: "no-space"},
		{Name: "fine", Phase: meta.PhaseIdle},
	}
	r.news <- struct{}{}
	receive(t, "heartbeat", r.requests)
	r.answers <- `{"desiredAgents":[
		{"name":"working","version":"../1","cmd":"start"},
		{"name":"failing","version":"1","cmd":"dance"},
		{"name":"../evil","version":"1","cmd":"start"}]}`
	receive(t, "reply", r.agents.applied)
	r.news <- struct{}{}
	q := receive(t, "second heartbeat", r.requests)
	r.answers <- emptyReply
	codes := map[string]string{}
	for _, a := range q.RealAgents {
		codes[a.Name] = a.Reason
		if told := strings.Contains(a.Error, "refused: "); told != (a.Name != "fine") {
			t.Errorf("%s: told of a refusal: %v: %+v", a.Name, told, a)
		}
	}
	want := map[string]string{"working": plan.CodeRefused, "failing": "no-space", "fine": "", "../evil": plan.CodeRefused}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
}

// A reply without a mark says nothing of what is wanted: a server that cannot
// look must not make the host forget what another one has said since.
func TestTheLastMarkIsEchoedUntilThereIsANewerOne(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits between heartbeats")
	}
	r := startBeat(t, time.Hour, nil)
	for i, step := range []struct{ echoed, answer string }{
		{"", `{"desiredAgents":[],"serialMark":"era.1.x"}`},
		{"era.1.x", `{"desiredAgents":[]}`},
		{"era.1.x", `{"desiredAgents":[],"serialMark":"era.2.x"}`},
		{"era.2.x", emptyReply},
	} {
		r.news <- struct{}{}
		if q := receive(t, "heartbeat", r.requests); q.SerialMark != step.echoed {
			t.Errorf("heartbeat %d echoes %q, want %q", i, q.SerialMark, step.echoed)
		}
		r.answers <- step.answer
		receive(t, "reply", r.agents.applied)
	}
}

func TestOnlyTheConfiguredAgentIsLookedAfter(t *testing.T) {
	r := startBeat(t, time.Hour, func(c *config.Config) { c.DesiredAgent = "mine" })
	r.news <- struct{}{}
	receive(t, "heartbeat", r.requests)
	r.answers <- `{"desiredAgents":[
		{"name":"mine","version":"1","tarball":"http://r.example","cmd":"start"},
		{"name":"other","version":"1","tarball":"http://r.example","cmd":"start"}]}`
	if d := receive(t, "reply", r.agents.applied); len(d.Agents) != 1 || d.Agents[0].Name != "mine" {
		t.Errorf("the engine was told %+v", d)
	}
}

func TestServerSteersThePaceAndReloadsReplaceIt(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits between heartbeats")
	}
	r := startBeat(t, time.Hour, nil)
	r.news <- struct{}{}
	receive(t, "heartbeat", r.requests)
	r.answers <- `{"interval":1,"desiredAgents":[]}`
	receive(t, "heartbeat after the steered interval", r.requests)
	r.answers <- `{"interval":3600,"desiredAgents":[]}`
	receive(t, "reply", r.agents.applied)
	config := r.beat.config // not used by the loop now: it waits
	config.Hostname = "renamed"
	r.beat.replaceConfig(config)
	if q := receive(t, "heartbeat after a reload", r.requests); q.Hostname != "renamed" {
		t.Errorf("hostname %q after the reload", q.Hostname)
	}
	r.answers <- emptyReply
}

func TestAFailingServerIsAskedAgainAndThatIsShown(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits between heartbeats")
	}
	r := startBeat(t, 2*time.Second, nil)
	receive(t, "heartbeat", r.requests)
	r.answers <- "503 "
	receive(t, "heartbeat after a failure", r.requests)
	if s := r.beat.State(); s.Failures != 1 || !strings.Contains(s.Error, "HTTP 503") {
		t.Errorf("the state is %+v", s)
	}
	r.answers <- emptyReply
	receive(t, "reply", r.agents.applied)
	receive(t, "next heartbeat", r.requests)
	if s := r.beat.State(); s.Failures != 0 || s.Error != "" || s.LastOK.IsZero() {
		t.Errorf("the state is %+v", s)
	}
	r.answers <- emptyReply
}
