package web_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"html"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/web"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hostile is what an unfriendly host could report as an error.
const hostile = `<script>alert(1)</script>`

// peer is a stand-in for /api/v1: it knows one token per role, answers what
// pages ask for from a table, and remembers what was written.
type peer struct {
	replies map[string]any // by path below /api/v1
	writes  []string       // "METHOD path body"
	refuse  *api.Problem   // what every write and preview is answered with
	handout web.Handout
}

func newPeer() *peer {
	later := now.Add(time.Hour)
	rollout := api.Rollout{
		ID: "r1", Agent: "falcon-agent", Version: "5.1.4", Previous: "5.1.3", Scope: api.Scope{Kind: api.ScopeEveryone}, State: api.RolloutRunning, Stage: 1,
		Strategy: api.Strategy{Name: "careful", Stages: []api.Stage{{Name: "canary", Count: 1}, {Percent: 25, Approval: true, Soak: 60}, {Percent: 100, Window: &api.Window{From: "09:00", To: "17:00"}}}},
		Progress: []api.StageCount{{Size: 1, Granted: 1, Succeeded: 1}, {Size: 5, Granted: 3, Succeeded: 1, Failed: 1}}, UpdatedAt: now, CreatedBy: "eve",
	}
	host := api.Host{
		Name: "web-1", IP: "192.0.2.1", Arch: "linux_amd64", Dialect: "v1", LastSeen: now.Add(-time.Minute), FirstSeen: now.Add(-48 * time.Hour), Labels: map[string]string{"dc": "a"},
		Problems: []string{"clock is 400 s ahead"}, Agents: []api.HostAgent{{Name: "falcon-agent", Version: "5.1.3", Wanted: "5.1.4", Status: "started", Phase: "rolledBack", Error: hostile}},
	}
	overview := api.Overview{Hosts: 1, Failing: 1, Agents: []api.AgentOverview{{Name: "falcon-agent", Hosts: 1, Failing: 1, Versions: map[string]int{"5.1.3": 1}}}}
	sample := func(ago time.Duration, failing int) api.Sample {
		return api.Sample{At: now.Add(-ago), Agent: "falcon-agent", Hosts: 3, Failing: failing, Versions: map[string]int{"5.1.3": 2, "5.1.4": 1}}
	}
	handout := web.Handout{Server: "https://meta.example", Sidecars: []api.Artifact{{Agent: "ops-updater", Version: "1.4.0", Arch: "linux_amd64"}}}
	return &peer{handout: handout, replies: map[string]any{
		"keys": api.KeyReport{
			Epoch: 3, SignedBy: "00000000000000C3", Lifetime: 86400, Roots: []api.KeyID{{ID: "00000000000000C3"}},
			Own:  []api.OwnKey{{KeyID: api.KeyID{ID: "00000000000000B2"}, Signs: true, Listed: true}},
			Keys: []api.ListedKey{{KeyID: api.KeyID{ID: "00000000000000A1"}, Use: "release", Name: "build"}},
		},
		"overview": overview, "history": []api.Sample{sample(time.Hour, 0), sample(time.Minute, 1)},
		"hosts": api.Page[api.Host]{Items: []api.Host{host}, Total: 1}, "hosts/web-1": host,
		"hosts/web-1/explain": api.Explanation{Host: "web-1", Known: true, Groups: []string{"canary"}, Agents: []api.AgentExplanation{{Agent: "falcon-agent", Version: "5.1.4", Cmd: "start", Reason: "everyone", SignedBy: "80ACD6C020C0C9A8", Rules: []api.Rule{{Scope: api.Scope{Kind: api.ScopeEveryone}, Version: "5.1.4", Wins: true}, {Scope: api.Scope{Kind: api.ScopeGroup, Name: "canary"}, Rollout: "r1"}}}}},
		"hosts/web-1/events":  api.Page[api.Event]{Items: []api.Event{{Kind: api.EventVersion, Agent: "falcon-agent", From: "5.1.2", To: "5.1.3", Time: now}, {Kind: api.EventError, Message: "it does not start", Time: now}, {Kind: api.EventError, Time: now}}, Next: "c2"},
		"agents":              api.Page[api.Agent]{Items: []api.Agent{{Name: "falcon-agent", Description: "collects"}}},
		"agents/falcon-agent": api.Agent{Name: "falcon-agent", ConfigFileName: "cfg.json"},
		"releases":            api.Page[api.Release]{Items: []api.Release{{Agent: "falcon-agent", Version: "5.1.4", Artifacts: []api.Artifact{{Arch: "linux_amd64", Size: 123456, MD5: "aa", SHA256: "bb", SignedBy: "80ACD6C020C0C9A8", Warnings: []string{"an ELF of another arch"}}}}}},
		"assignments":         api.Page[api.Assignment]{Items: []api.Assignment{{Agent: "falcon-agent", Version: "5.1.3", Scope: api.Scope{Kind: api.ScopeEveryone}}}},
		"agents/falcon-agent/assignments/group:canary": api.Assignment{Agent: "falcon-agent", Version: "5.1.3", Cmd: "stop", Scope: api.Scope{Kind: api.ScopeGroup, Name: "canary"}, Revision: 4},
		"groups":          api.Page[api.Group]{Items: []api.Group{{Name: "canary", Selector: api.Selector{Prefixes: []string{"web-"}, Labels: map[string]string{"dc": "a"}}}}},
		"groups/canary":   api.Group{Name: "canary", Revision: 3, Selector: api.Selector{Prefixes: []string{"web-"}}},
		"selectors/match": api.Page[api.Host]{Items: []api.Host{host}},
		"holds":           api.Page[api.Hold]{Items: []api.Hold{{ID: "h1", Scope: api.Scope{Kind: api.ScopeHost, Name: "web-1"}, Reason: "disk", Until: &later}}},
		"strategies":      api.Page[api.Strategy]{Items: []api.Strategy{{Name: "careful"}}},
		"rollouts":        api.Page[api.Rollout]{Items: []api.Rollout{rollout}}, "rollouts/r1": rollout,
		"rollouts/r1/transitions": api.Page[api.Transition]{Items: []api.Transition{{To: api.RolloutRunning, Reason: "started", Message: "The rollout began.", Time: now}}},
		"rollouts/r1/hosts":       api.Page[api.RolloutHost]{Items: []api.RolloutHost{{Host: "web-1", State: api.RolloutHostFailed, Stage: 1, Version: "5.1.3", Status: "started", Message: "it does not start", Judged: &now}}},
		"rollouts/r1/grants":      api.Page[api.Grant]{Items: []api.Grant{{Host: "web-1", Outcome: "failed", Reason: "rolled back", Judged: &now}}},
		"audit":                   api.Page[api.AuditEntry]{Items: []api.AuditEntry{{Actor: "eve", Action: "update", Kind: "group", Name: "canary", Time: now, Before: json.RawMessage(`{"priority":1,"selector":{"hosts":["a"]}}`), After: json.RawMessage(`{"priority":2,"selector":{"hosts":["a"]}}`)}}},
		"version":                 api.Version{Version: "1.2.3"}, "tokens": api.Page[api.Token]{Items: []api.Token{{ID: "t1", Name: "ci", Role: api.RoleOperator}}},
		"channels":             api.Page[api.Channel]{Items: []api.Channel{{Agent: "falcon-agent", Name: "stable", Version: "5.1.4", Previous: "5.1.3", MovedAt: now, MovedBy: "ci"}}},
		"schedules":            api.Page[api.Schedule]{Items: []api.Schedule{{Name: "production", Channel: "stable", Strategy: "waves", Scope: api.Scope{Kind: api.ScopeEveryone}}, {Name: "trial", Channel: "beta", Paused: true}}},
		"schedules/production": api.Schedule{Name: "production", Channel: "stable", Revision: 7},
		"schedules/production/states": api.Page[api.ScheduleState]{Items: []api.ScheduleState{{
			Schedule: "production", Agent: "falcon-agent", Version: "5.1.4", Assigned: "5.1.3", Reason: "outside-window", Message: "5.1.4 waits for its window", Until: &later,
		}}},
		"schedules/trial": api.Schedule{Name: "trial", Channel: "beta", Paused: true}, "schedules/trial/states": api.Page[api.ScheduleState]{},
		"schedules/production/plan": api.Page[api.SchedulePlan]{Items: []api.SchedulePlan{
			{
				Schedule: "production", Agent: "falcon-agent", Version: "5.1.4", Strategy: "waves", From: now, Begins: &later, Ends: &later, Notes: []string{"each host is assumed to be quick"},
				Stages: []api.PlanStage{{Name: "lab", Hosts: 3, Begins: &later, First: &later, Last: &later, Ends: &later, Waits: []api.PlanWait{{From: now, Until: later}}}, {Name: "rest"}},
				Hosts:  map[api.PlanHostState]int{api.PlanHostChanges: 3, api.PlanHostNoArtifact: 1},
			},
			{Schedule: "production", Agent: "probe", Version: "2.0", Reason: "taken-back", Message: "2.0 was taken back as bad"},
		}},
		"schedules/production/plan/hosts": api.Page[api.PlanHost]{Items: []api.PlanHost{{Host: "web-1", State: api.PlanHostHeld, Message: hostile}, {Host: "web-2", State: api.PlanHostChanges, Stage: "lab", From: &now, By: &later}}, Next: "web-2", Total: 9},
		"users":                           api.Page[api.User]{}, "sessions": api.Page[api.Session]{},
		"notifications/targets": api.Page[api.NotifyTarget]{}, "notifications/dead": api.Page[api.Notification]{},
	}}
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	role := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer token-of-")
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case role != "viewer" && role != "operator" && role != "admin":
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(api.Problem{Title: "This token is not known", Status: http.StatusUnauthorized})
	case path == "whoami":
		_ = json.NewEncoder(w).Encode(api.Identity{Name: "eve", Role: api.Role(role), From: r.RemoteAddr})
	case path == "events":
		_, _ = io.WriteString(w, "id: 7\ndata: {\"seq\":7,\"kind\":\"open\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case p.refuse != nil && (r.Method != http.MethodGet || strings.HasSuffix(path, "impact")):
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.refuse.Status)
		_ = json.NewEncoder(w).Encode(p.refuse)
	case r.Method != http.MethodGet && path != "selectors/match":
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("If-None-Match") == "*" {
			path = "(new) " + path
		} else if seen := r.Header.Get("If-Match"); seen != "" && r.Method == http.MethodDelete {
			path = "(" + seen + ") " + path
		}
		p.writes = append(p.writes, r.Method+" "+path+" "+string(body))
		if path == "tokens" {
			var asked api.NewToken
			_ = json.Unmarshal(body, &asked)
			_ = json.NewEncoder(w).Encode(api.Token{Name: asked.Name, Role: asked.Role, Secret: "s3cret"})
			return
		}
		if strings.HasPrefix(path, "schedules/") {
			_ = json.NewEncoder(w).Encode(api.Schedule{})
			return
		}
		_ = json.NewEncoder(w).Encode(api.Rollout{ID: "r1"})
	case p.replies[path] != nil:
		_ = json.NewEncoder(w).Encode(p.replies[path])
	default:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(api.Problem{Title: "There is no " + path, Status: http.StatusNotFound})
	}
}

// open starts the page on loopback and returns a browser-like client.
func open(t *testing.T, p *peer) (*http.Client, string) {
	t.Helper()
	handler, err := web.New(web.Config{API: p, Key: [32]byte([]byte(rand.Text() + rand.Text())[:32]), Now: func() time.Time { return now }, Log: zerolog.New(zerolog.NewTestWriter(t)), Handout: func() web.Handout { return p.handout }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, Transport: browser{}}, server.URL
}

// browser says what browsers say, unless the test says something else.
type browser struct{}

func (browser) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Accept") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	}
	return http.DefaultTransport.RoundTrip(r)
}

func login(t *testing.T, c *http.Client, base, role string) {
	t.Helper()
	if status, body := post(t, c, base+"/login", url.Values{"token": {"token-of-" + role}}); status != http.StatusOK || !strings.Contains(body, "Fleet") {
		t.Fatalf("login as %s: %d\n%s", role, status, body)
	}
}

func get(t *testing.T, c *http.Client, u string) (int, string) {
	t.Helper()
	resp, err := c.Get(u)
	return reply(t, resp, err)
}

func post(t *testing.T, c *http.Client, u string, form url.Values) (int, string) {
	t.Helper()
	resp, err := c.PostForm(u, form)
	return reply(t, resp, err)
}

func reply(t *testing.T, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
		t.Errorf("%s: Content-Security-Policy is %q", resp.Request.URL, csp)
	}
	return resp.StatusCode, string(body)
}

func TestEveryPageShowsWhatTheAPISays(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "admin")
	cases := []struct {
		path string
		want []string
	}{
		{"/", []string{"falcon-agent", "5.1.3", "Rollouts under way", "Failing now", "polyline", `aria-label="falcon-agent over time. Now: 1 host on 5.1.4, 2 hosts on 5.1.3."`}},
		{"/hosts?state=failing", []string{"web-1", "192.0.2.1", "→ 5.1.4", "rolled back"}},
		{"/hosts/web-1", []string{"clock is 400 s ahead", "5.1.2 → 5.1.3", `<li class="bad">`, `<li class="good">`, "Earlier", "2 rules", "dc=a"}},
		{"/agents", []string{"collects", "5.1.3: 1"}},
		{"/agents/falcon-agent", []string{"120.6 KiB", "an ELF of another arch", "everyone"}},
		{"/rollouts", []string{"falcon-agent 5.1.4", "stage 2 of 3"}},
		{"/rollouts/r1", []string{"needs approval", `<a href="/rollouts/r1/hosts?state=succeeded">1 succeeded</a> · <a href="/rollouts/r1/hosts?state=failed">1 failed</a> · 3 granted · <a href="/rollouts/r1/hosts?state=inFlight">1 in flight</a>`, "rolled back", "09:00–17:00 UTC", "/rollouts/r1/pause"}},
		{"/rollouts/r1/hosts?state=failed", []string{"web-1", "it does not start", `state=failed" aria-current="true">failed`, "5.1.3", "no artifact"}},
		{"/rollouts/r1/rollback", []string{"takes 4 hosts back to 5.1.3", "danger"}},
		{"/schedules", []string{"outside-window", "5.1.4 waits for its window", "in 1h", `href="/schedules/production/pause"`, `href="/schedules/trial/resume"`, "No agent has a channel beta", "by ci"}},
		{"/schedules/production/plan", []string{"2026-03-01 13:00:00 UTC", "its window, until", "no artifact: 1", "taken-back", "2.0 was taken back as bad", `plan/hosts?agent=falcon-agent&amp;from=2026-03-01T12%3A00%3A00Z`, "each host is assumed to be quick"}},
		{"/schedules/production/plan/hosts?agent=falcon-agent", []string{"9 hosts of the plan", "web-2", "12:00:00 UTC</time> to", "cursor=web-2"}},
		{"/schedules/production/pause", []string{"Pause the schedule production?", "What is under way goes on", `name="revision" value="7"`}},
		{"/schedules/trial/resume", []string{"Resume the schedule trial?", "0 agents are"}},
		{"/groups", []string{"web-…", "dc=a"}},
		{"/groups/edit?name=canary", []string{"web-", "1 host matches"}},
		{"/holds", []string{"host:web-1", "in 1h"}},
		{"/holds/new?scope=agent:falcon-agent", []string{"agent:falcon-agent"}},
		{"/changes", []string{"priority", "<del>1</del>", "<ins>2</ins>"}},
		{"/settings", []string{"1.2.3", "ci", "Revoke"}},
		{"/deploy?agent=falcon-agent", []string{"Show what changes", "5.1.4", "group canary", "careful"}},
		{"/publish?agent=falcon-agent", []string{`value="falcon-agent"`}},
	}
	for _, tc := range cases {
		t.Run(tc.path, func(t *testing.T) {
			status, body := get(t, c, base+tc.path)
			if status != http.StatusOK {
				t.Fatalf("status %d\n%s", status, body)
			}
			words := strings.Join(strings.Fields(body), " ") // as a browser shows them
			for _, want := range tc.want {
				if !strings.Contains(words, want) {
					t.Errorf("does not show %q\n%s", want, body)
				}
			}
			if strings.Contains(body, hostile) {
				t.Error("a host's words became markup")
			}
			if !strings.Contains(body, `lang="en"`) || !strings.Contains(body, "<main") {
				t.Error("is not a whole page")
			}
		})
	}
}

// What changed between the making of a page and its listening, or while the
// connection was cut, shows although nothing changes afterwards.
func TestALivePageLooksAgainAtOnce(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "viewer")
	resp, err := c.Get(base + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if lines.Text() == "event: change" {
			return
		}
	}
	t.Errorf("the stream ended without an event: %v", lines.Err())
}

func TestWithoutASessionOneLogsInFirst(t *testing.T) {
	c, base := open(t, newPeer())
	_, body := get(t, c, base+"/hosts?state=failing")
	if !strings.Contains(body, `name="next" value="/hosts?state=failing"`) {
		t.Fatalf("want a login that leads back\n%s", body)
	}
	if status, body := post(t, c, base+"/login", url.Values{"token": {"wrong"}}); status != http.StatusUnauthorized || !strings.Contains(body, "This token is not known") {
		t.Fatalf("wrong token: %d\n%s", status, body)
	}
	if status, _ := post(t, c, base+"/login", url.Values{}); status != http.StatusUnauthorized {
		t.Fatalf("no token: %d", status)
	}
}

// A health check or wget that is sent to a login page takes it for an answer.
func TestOnlyABrowserThatAsksForAPageIsSentToTheLogin(t *testing.T) {
	const html = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
	for name, c := range map[string]struct {
		method, path, accept string
		status               int
	}{
		"a browser on the front page":      {"GET", "/", html, 303},
		"a browser on a host's page":       {"GET", "/hosts/web-1", html, 303},
		"a browser's head":                 {"HEAD", "/hosts", html, 303},
		"a browser's form after its login": {"POST", "/deploy", html, 303},
		"a browser on what is no page":     {"GET", "/falcon/falcon-agent-1.0.0.tar.gz", html, 404},
		"a browser's other method":         {"PUT", "/hosts", html, 404},
		"wget of a tarball":                {"GET", "/falcon/falcon-agent-1.0.0.tar.gz", "*/*", 404},
		"wget of the front page":           {"GET", "/", "*/*", 404},
		"a program that refuses pages":     {"GET", "/hosts", "text/html;q=0.0, application/json", 404},
		"a program that asks for JSON":     {"GET", "/hosts", "application/json", 404},
		"a heartbeat to an unknown path":   {"POST", "/api/v2/heartbeat", "*/*", 404},
		"a page that follows what happens": {"GET", "/live", "text/event-stream", 401},
	} {
		client, base := open(t, newPeer())
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		req, _ := http.NewRequest(c.method, base+c.path, nil)
		req.Header.Set("Accept", c.accept)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: got %s, want %d", name, resp.Status, c.status)
		}
	}
	client, base := open(t, newPeer())
	login(t, client, base, "viewer")
	if status, body := get(t, client, base+"/no-such-page"); status != http.StatusNotFound || !strings.Contains(body, "There is no such page") {
		t.Errorf("logged in, on what is no page: got %d\n%s", status, body)
	}
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	for _, next := range []string{"https://elsewhere.example/", "//elsewhere.example/", `/\elsewhere.example/`, "javascript:alert(1)"} {
		c, base := open(t, newPeer())
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := c.PostForm(base+"/login", url.Values{"token": {"token-of-admin"}, "next": {next}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if to := resp.Header.Get("Location"); to != "/" {
			t.Errorf("next=%s leads to %q", next, to)
		}
	}
}

func TestAForgedSessionIsNone(t *testing.T) {
	c, base := open(t, newPeer())
	u, _ := url.Parse(base)
	c.Jar.SetCookies(u, []*http.Cookie{{Name: "ops_meta_session", Value: "eyJ0IjoidG9rZW4tb2YtYWRtaW4iLCJlIjo5OTk5OTk5OTk5fQ"}})
	if _, body := get(t, c, base+"/"); !strings.Contains(body, "Log in") {
		t.Fatal("a forged cookie let somebody in")
	}
}

func TestAnotherSiteCannotWrite(t *testing.T) {
	p := newPeer()
	c, base := open(t, p)
	login(t, c, base, "admin")
	req, _ := http.NewRequest(http.MethodPost, base+"/rollouts/r1/abort", strings.NewReader("reason=x"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := c.Do(req)
	if status, _ := reply(t, resp, err); status != http.StatusForbidden || len(p.writes) != 0 {
		t.Fatalf("status %d, writes %v; want 403 and none", status, p.writes)
	}
}

func TestWritesReachTheAPI(t *testing.T) {
	cases := []struct {
		name, path string
		form       url.Values
		want       string
	}{
		{"pause", "/rollouts/r1/pause", url.Values{"reason": {"looks odd"}}, `POST rollouts/r1/pause {"reason":"looks odd"}`},
		{"rollout", "/deploy", url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"group:canary"}, "strategy": {"careful"}}, `POST rollouts {"agent":"falcon-agent","version":"5.1.4","scope":{"kind":"group","name":"canary"},"strategy":"careful"}`},
		{"at once, what was never assigned", "/deploy", url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"everyone"}, "strategy": {"(now)"}}, `PUT (new) agents/falcon-agent/assignments/everyone {"agent":"falcon-agent","scope":{"kind":"everyone"},"version":"5.1.4","revision":-1}`},
		{"at once, what is assigned", "/deploy", url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"group:canary"}, "strategy": {"(now)"}}, `PATCH agents/falcon-agent/assignments/group:canary {"version":"5.1.4"}`},
		{"stop", "/deploy", url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"group:canary"}, "cmd": {"stop"}}, `PATCH agents/falcon-agent/assignments/group:canary {"cmd":"stop","version":"5.1.4"}`},
		{"run again", "/deploy", url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"group:canary"}, "cmd": {"start"}}, `{"cmd":"start","version":"5.1.4"}`},
		{"retry", "/rollouts/r1/retry", url.Values{"reason": {"disk was full"}}, `POST rollouts/r1/retry {"reason":"disk was full"}`},
		{"skip", "/rollouts/r1/skip", nil, `POST rollouts/r1/skip`},
		{"target", "/settings/targets", url.Values{"name": {"chat"}, "kind": {"webhook"}, "url": {"https://chat.example"}}, `PUT (new) notifications/targets/chat`},
		{"new group", "/groups/edit", url.Values{"name": {"db"}, "prefixes": {"db-"}}, `PUT (new) groups/db`},
		{"delete a group as it was seen", "/groups/delete", url.Values{"name": {"canary"}, "revision": {"3"}}, `DELETE ("3") groups/canary`},
		{"hold", "/holds/new", url.Values{"host": {"web-1"}, "reason": {"disk"}, "for": {"1h"}}, `POST holds {"id":"","scope":{"kind":"host","name":"web-1"},"reason":"disk","until":"2026-03-01T13:00:00Z"`},
		{"hold for days", "/holds/new", url.Values{"host": {"web-1"}, "reason": {"disk"}, "for": {"14d"}}, `"until":"2026-03-15T12:00:00Z"`},
		{"release", "/holds/h1/release", nil, "DELETE holds/h1"},
		{"try again", "/settings/dead/retry", url.Values{"id": {"7"}}, "POST notifications/dead/7/retry"},
		{"group", "/groups/edit", url.Values{"name": {"db"}, "prefixes": {"db-\ndb2-\n"}, "labels": {"dc = a"}}, `"selector":{"prefixes":["db-","db2-"],"labels":{"dc":"a"}}`},
		{"pause a schedule", "/schedules/production/pause", url.Values{"revision": {"7"}}, `PATCH schedules/production {"paused":true}`},
		{"resume a schedule", "/schedules/production/resume", url.Values{"revision": {"7"}}, `PATCH schedules/production {"paused":false}`},
		{"token", "/settings/tokens", url.Values{"name": {"ci"}, "role": {"viewer"}, "ttl": {"1h"}}, `POST tokens {"name":"ci","role":"viewer","ttl":3600}`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPeer()
			c, base := open(t, p)
			login(t, c, base, "admin")
			if status, body := post(t, c, base+tc.path, tc.form); status >= 400 {
				t.Fatalf("status %d\n%s", status, body)
			}
			if got := strings.Join(p.writes, "\n"); !strings.Contains(got, tc.want) {
				t.Fatalf("wrote %s\nwant %s", got, tc.want)
			}
		})
	}
}

// What takes something away asks first, and says what that means.
func TestConfirmations(t *testing.T) {
	cases := map[string]string{
		"/holds/h1/release":                         "1 host may change again",
		"/settings/tokens/delete?id=t1&name=ci":     "Revoke the token ci?",
		"/settings/targets/delete?name=chat":        "Remove the notification target chat?",
		"/rollouts/r1/abort":                        "The rollout ends",
		"/schedules/production/remove":              "There is no such page",
		"/rollouts/r1/retry":                        "may try once more",
		"/rollouts/r1/skip":                         "The last stage begins now",
		"/assignments/delete?agent=x&scope=nothing": "There is no such assignment",
	}
	p := newPeer()
	c, base := open(t, p)
	login(t, c, base, "admin")
	for path, want := range cases {
		if _, body := get(t, c, base+path); !strings.Contains(body, want) {
			t.Errorf("%s does not say %q:\n%s", path, want, body)
		}
	}
	if len(p.writes) > 0 {
		t.Errorf("asking wrote %v", p.writes)
	}
}

// A version has the same colour in the list and in the chart beside it, also
// when a newer one is history.
func TestAVersionHasOneColour(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "viewer")
	for _, path := range []string{"/", "/agents/falcon-agent"} {
		_, body := get(t, c, base+path)
		list := regexp.MustCompile(`<i class="f(\d)"></i>\s*<a [^>]*>5\.1\.3<`).FindStringSubmatch(body)
		chart := regexp.MustCompile(`<polygon class="f(\d)"[^>]*>\s*<title>5\.1\.3<`).FindStringSubmatch(body)
		if list == nil || chart == nil || list[1] != chart[1] {
			t.Errorf("%s: 5.1.3 is %v in the list and %v in the chart", path, list, chart)
		}
	}
}

// A rollout is offered what its state allows, all of it and nothing else.
func TestRolloutsOfferWhatTheirStateAllows(t *testing.T) {
	cases := map[api.RolloutState]string{
		api.RolloutDraft: "approve abort", api.RolloutAwaitingApproval: "approve pause skip abort rollback", api.RolloutRunning: "pause retry skip abort rollback",
		api.RolloutPaused: "resume retry skip abort rollback", api.RolloutInconclusive: "resume retry skip abort rollback", api.RolloutRollingBack: "abort",
		api.RolloutAborted: "rollback", api.RolloutCompleted: "rollback",
	}
	p := newPeer()
	c, base := open(t, p)
	login(t, c, base, "operator")
	offers := func(r api.Rollout) string {
		p.replies["rollouts/r1"] = r
		_, body := get(t, c, base+"/rollouts/r1")
		var got []string
		for _, action := range []string{"approve", "pause", "resume", "retry", "skip", "abort", "rollback"} {
			if strings.Contains(body, `href="/rollouts/r1/`+action+`"`) {
				got = append(got, action)
			}
		}
		return strings.Join(got, " ")
	}
	r := p.replies["rollouts/r1"].(api.Rollout)
	for state, want := range cases {
		r.State, r.Progress = state, []api.StageCount{{Granted: 4, Failed: 1, Size: 9}}
		if got := offers(r); got != want {
			t.Errorf("%s offers %v; want %s", state, got, want)
		}
	}
	r.State, r.Stage, r.Progress = api.RolloutRunning, 2, nil
	if got, want := offers(r), "pause abort rollback"; got != want {
		t.Errorf("in its last stage and without a failure it offers %s; want %s", got, want)
	}
}

func TestAViewerIsOfferedNoWrites(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "viewer")
	for _, path := range []string{"/", "/rollouts/r1", "/agents/falcon-agent", "/groups", "/holds", "/settings"} {
		if _, body := get(t, c, base+path); strings.Contains(body, `href="/deploy`) || strings.Contains(body, "<button>Release") || strings.Contains(body, "/pause") {
			t.Errorf("%s offers a viewer to change something", path)
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "operator")
	if status, body := get(t, c, base+"/hosts/nobody"); status != http.StatusNotFound || !strings.Contains(body, "There is no hosts/nobody") {
		t.Errorf("unknown host: %d\n%s", status, body)
	}
	if status, _ := get(t, c, base+"/no/such/page"); status != http.StatusNotFound {
		t.Errorf("unknown page: %d", status)
	}
	if status, body := post(t, c, base+"/holds/new", url.Values{"host": {"a"}, "reason": {"x"}, "for": {"soon"}}); status != http.StatusBadRequest || !strings.Contains(body, "12h") {
		t.Errorf("bad duration: %d\n%s", status, body)
	}
}

// What was entered is not lost when it is refused: the form comes back as it
// was, with what is wrong about it.
func TestARefusedFormKeepsWhatWasEntered(t *testing.T) {
	file := func(fields map[string]string) (string, io.Reader) {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		for _, name := range []string{"agent", "version", "arch"} {
			_ = form.WriteField(name, fields[name])
		}
		part, _ := form.CreateFormFile("file", "demo-1.0.0.tar.gz")
		_, _ = part.Write([]byte("no tarball"))
		_ = form.Close()
		return form.FormDataContentType(), &body
	}
	encoded := func(form url.Values) (string, io.Reader) {
		return "application/x-www-form-urlencoded", strings.NewReader(form.Encode())
	}
	type entered func() (string, io.Reader)
	for name, c := range map[string]struct {
		path string
		form entered
		want []string
	}{
		"deploy": {
			"/deploy", func() (string, io.Reader) {
				return encoded(url.Values{"agent": {"falcon-agent"}, "version": {"5.1.4"}, "scope": {"group:canary"}, "strategy": {"careful"}, "reason": {"ticket 7"}})
			},
			[]string{`<option selected>falcon-agent`, `<option value="group:canary" selected>`, `<option selected>careful`},
		},
		"publish": {
			"/publish", func() (string, io.Reader) {
				return file(map[string]string{"agent": "demo", "version": "1.0.0", "arch": "linux_mips"})
			},
			[]string{`name="agent" value="demo"`, `name="version" value="1.0.0"`, `name="arch" value="linux_mips"`},
		},
		"hold": {
			"/holds/new", func() (string, io.Reader) {
				return encoded(url.Values{"host": {"web-1"}, "reason": {"a broken disk"}, "for": {"12h"}})
			},
			[]string{`name="host" value="web-1"`, `name="reason" value="a broken disk"`, `name="for" value="12h"`},
		},
		"hold for no time": {
			"/holds/new", func() (string, io.Reader) {
				return encoded(url.Values{"host": {"web-1"}, "reason": {"a broken disk"}, "for": {"soon"}})
			},
			[]string{`name="reason" value="a broken disk"`, `name="for" value="soon"`},
		},
		"token": {
			"/settings/tokens", func() (string, io.Reader) {
				return encoded(url.Values{"name": {"ci"}, "role": {"operator"}, "ttl": {"90d"}})
			},
			[]string{`name="name" value="ci"`, `<option selected>operator`, `name="ttl" value="90d"`},
		},
		"target": {
			"/settings/targets", func() (string, io.Reader) {
				return encoded(url.Values{"name": {"chat"}, "kind": {"webhook"}, "url": {"https://chat.example"}, "secret": {"s3cret"}, "events": {"rollout."}})
			},
			[]string{`name="name" value="chat"`, `value="https://chat.example"`, `rollout.</textarea>`, "<details open>"},
		},
		"group": {
			"/groups/edit", func() (string, io.Reader) { return encoded(url.Values{"name": {"db"}, "prefixes": {"db-"}}) },
			[]string{`value="db"`, "db-</textarea>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer()
			client, base := open(t, p)
			login(t, client, base, "admin")
			p.refuse = &api.Problem{Title: "That is refused", Detail: "for a reason", Hint: "Do it otherwise.", Status: http.StatusConflict}
			kind, body := c.form()
			resp, err := client.Post(base+c.path, kind, body)
			status, page := reply(t, resp, err)
			if status < 400 || status >= 500 {
				t.Errorf("status %d", status)
			}
			if !strings.Contains(page, `role="alert"`) || name != "hold for no time" && !strings.Contains(page, "Do it otherwise.") {
				t.Errorf("does not say what is wrong\n%s", page)
			}
			for _, want := range c.want {
				if !strings.Contains(page, want) {
					t.Errorf("does not keep %q\n%s", want, page)
				}
			}
			if strings.Contains(page, "s3cret") {
				t.Error("a secret came back")
			}
		})
	}
}

func TestPagesThatChangeRenewThemselves(t *testing.T) {
	c, base := open(t, newPeer())
	login(t, c, base, "admin")
	for _, path := range []string{"/", "/hosts", "/hosts/web-1", "/add-hosts", "/agents", "/agents/falcon-agent", "/rollouts", "/rollouts/r1", "/rollouts/r1/hosts", "/groups", "/holds", "/changes", "/settings"} {
		if _, body := get(t, c, base+path); strings.Count(body, `id="live"`) != 1 || !strings.Contains(body, `hx-trigger="sse:change"`) {
			t.Errorf("%s does not renew itself", path)
		}
	}
}

func TestAnEnrolmentTokenComesWithTheLineThatInstallsAHost(t *testing.T) {
	p := newPeer()
	c, base := open(t, p)
	login(t, c, base, "admin")
	line := html.EscapeString("echo 'Authorization: Bearer s3cret' | curl -fsSL -H @- https://meta.example/install.sh | sh")
	for role, want := range map[string]bool{"enroll": true, "viewer": false} {
		status, body := post(t, c, base+"/settings/tokens", url.Values{"name": {"rack"}, "role": {role}})
		if status != http.StatusOK || !strings.Contains(body, "s3cret") || strings.Contains(body, line) != want {
			t.Errorf("%s: %d, the line is there: %v; want %v\n%s", role, status, strings.Contains(body, line), want, body)
		}
	}
}

// TestAddHostsShowsHowAndWhoCame: the line with its token once, for whom an admin makes
// it, and the hosts that enrolled, also those that have not reported yet.
func TestAddHostsShowsHowAndWhoCame(t *testing.T) {
	p := newPeer()
	enrolled := func(host string) api.AuditEntry {
		return api.AuditEntry{Actor: "rack-7", Action: "enrol", Kind: "host", Name: host, Time: now.Add(-time.Minute), From: "192.0.2.9"}
	}
	p.replies["audit"] = api.Page[api.AuditEntry]{Items: []api.AuditEntry{enrolled("web-1"), enrolled("web-2"), enrolled("web-2")}}
	c, base := open(t, p)

	login(t, c, base, "viewer")
	_, body := get(t, c, base+"/add-hosts")
	for _, want := range []string{"ops-updater 1.4.0 for", `<a href="/hosts/web-1">web-1</a>`, "not yet", `id="arrived">2<`, "An admin makes the line"} {
		if !strings.Contains(body, want) {
			t.Errorf("a viewer does not see %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, `action="/add-hosts"`) {
		t.Error("a viewer is offered to make a token")
	}

	login(t, c, base, "admin")
	status, body := post(t, c, base+"/add-hosts", url.Values{"name": {"rack-7"}, "ttl": {"soon"}})
	if status != http.StatusBadRequest || !strings.Contains(body, "is not a time such as") || !strings.Contains(body, `value="rack-7"`) {
		t.Errorf("a time that is none: %d\n%s", status, body)
	}
	line := html.EscapeString("echo 'Authorization: Bearer s3cret' | curl -fsSL -H @- https://meta.example/install.sh | sh")
	status, body = post(t, c, base+"/add-hosts", url.Values{"name": {"rack-7"}, "ttl": {"2d"}})
	if status != http.StatusOK || !strings.Contains(body, line) || !strings.Contains(body, `hx-get="/add-hosts?token=rack-7"`) {
		t.Errorf("the line, and hosts of its token: %d\n%s", status, body)
	}
	if got := p.writes[len(p.writes)-1]; !strings.Contains(got, `"role":"enroll"`) || !strings.Contains(got, `"ttl":172800`) {
		t.Errorf("made was %s", got)
	}

	if strings.Contains(body, `id="plain"`) {
		t.Error("https is called plain")
	}
	for server, plain := range map[string]bool{"http://meta.example:2000": true, "http://127.0.0.1:2000": false, "http://localhost": false} {
		p.handout.Server = server
		if _, body := get(t, c, base+"/add-hosts"); strings.Contains(body, `id="plain"`) != plain {
			t.Errorf("%s: warned of: %v, want %v", server, !plain, plain)
		}
	}
	p.handout.Sidecars, p.handout.CA = nil, "-----BEGIN CERTIFICATE-----"
	_, body = post(t, c, base+"/add-hosts", url.Values{"name": {"rack-7"}, "ttl": {"2d"}})
	if !strings.Contains(body, "holds no release of ops-updater") || !strings.Contains(body, "curl --cacert ops-meta-ca.pem ") {
		t.Errorf("no sidecar, and an authority of its own:\n%s", body)
	}
}
