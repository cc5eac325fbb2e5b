package server_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// checked is a transport that holds every exchange against the document.
type checked struct {
	t       *testing.T
	router  routers.Router
	covered map[string]bool // operations that answered with success
}

func newChecked(t *testing.T, r *running) (*checked, *openapi3.T) {
	t.Helper()
	resp, err := http.Get(r.url + "/api/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatalf("load document: %v", err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("document: %v", err)
	}
	doc.Servers = openapi3.Servers{{URL: r.url}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &checked{t: t, router: router, covered: map[string]bool{}}, doc
}

func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		c.t.Errorf("%s %s is not in the document: %v", req.Method, req.URL.Path, err)
		return http.DefaultTransport.RoundTrip(req)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	sent := drain(&req.Body)
	req.GetBody = nil
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/json") && len(sent) > 0 {
		if err := openapi3filter.ValidateRequest(c.t.Context(), in); err != nil {
			c.t.Errorf("%s %s: request: %v", req.Method, req.URL.Path, err)
		}
	}
	req.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp, err
	}
	if resp.StatusCode/100 == 2 {
		c.covered[route.Operation.OperationID] = true
	}
	c.check(in, resp)
	return resp, nil
}

func (c *checked) check(in *openapi3filter.RequestValidationInput, resp *http.Response) {
	got := drain(&resp.Body)
	kind := resp.Header.Get("Content-Type")
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options,
	}
	if !strings.Contains(kind, "json") || strings.Contains(kind, "openapi") {
		out.Options.ExcludeResponseBody = true // no schema to hold it against
	}
	if absent.Match(got) && !out.Options.ExcludeResponseBody {
		c.t.Errorf("%s %s: response %d says null\n%s", in.Request.Method, in.Request.URL.Path, resp.StatusCode, got)
	}
	out.SetBodyBytes(got)
	if err := openapi3filter.ValidateResponse(c.t.Context(), out); err != nil {
		c.t.Errorf("%s %s: response %d: %v\n%s", in.Request.Method, in.Request.URL.Path, resp.StatusCode, err, got)
	}
}

// absent is a null where a program expects something: what is not there is
// left out, and a list of nothing is empty.
var absent = regexp.MustCompile(`[:\[,]null\b`)

// A server that nobody has told anything yet answers every question, and with
// lists that can be walked.
func TestAnEmptyServerAnswersWithEmptyLists(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		check, doc := newChecked(t, r)
		r.http = &http.Client{Transport: check}
		asked := 0
		for path, item := range doc.Paths.Map() {
			if item.Get == nil || strings.Contains(path, "{") || item.Get.OperationID == "follow" {
				continue
			}
			asked++
			if err := r.get(strings.TrimPrefix(path, "/api/v1/")); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if asked < 15 {
			t.Errorf("only %d operations were asked", asked)
		}
	})
}

func drain(body *io.ReadCloser) []byte {
	if *body == nil {
		return nil
	}
	data, _ := io.ReadAll(*body)
	_ = (*body).Close()
	*body = io.NopCloser(bytes.NewReader(data))
	return data
}

func init() {
	openapi3filter.RegisterBodyDecoder("application/problem+json", func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		var v any
		err := json.NewDecoder(r).Decode(&v)
		return v, err
	})
}

// Every operation is tried through the client, and every exchange held
// against the document that the server itself serves: what the handlers do,
// what the client sends and what the document says can't come apart.
func TestEveryOperationIsAsTheDocumentSays(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		startProvider(t, &conf)
		r := start(t, conf)
		check, doc := newChecked(t, r)
		c, err := api.NewClient(api.ClientConfig{Server: r.url, Token: r.token, Transport: check})
		if err != nil {
			t.Fatal(err)
		}
		r.http = &http.Client{Transport: check}
		r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: "web-1", Arch: "linux_amd64", RealAgents: []meta.RealAgent{{Name: "demo", Version: "0.9", Status: "started", Error: "old"}}})
		for _, try := range operations(r) {
			if err := try.call(t.Context(), c); try.fails == 0 && err != nil {
				t.Errorf("%s: %v", try.name, err)
			} else if p := problem(err); try.fails != 0 && (p == nil || p.Status != try.fails) {
				t.Errorf("%s: got %v, want status %d", try.name, err, try.fails)
			}
		}
		if err := tryProvider(t.Context(), c); err != nil {
			t.Errorf("a login at the provider: %v", err)
		}
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				if !check.covered[op.OperationID] && !slices.Contains(untried, op.OperationID) {
					t.Errorf("%s %s (%s) was never answered with success in this test", method, path, op.OperationID)
				}
			}
		}
	})
}

// untried are operations that other tests try.
var untried = []string{
	"follow",                                                // a stream that does not end
	"endStandstill",                                         // after a restore
	"testNotifyTarget", "retryDeadLetter", "dropDeadLetter", // need something to send
	"registerArtifact", "enroll", // TestExternalArtifacts, TestEnrolment
	"rollbackRollout", // needs a release to go back to
	"retryRollout",    // needs a host that failed
}

type operation struct {
	name  string
	call  func(context.Context, *api.Client) error
	fails int // status; 0: succeeds
}

func operations(r *running) []operation {
	everyone, web := api.Scope{Kind: api.ScopeEveryone}, api.Scope{Kind: api.ScopeGroup, Name: "web"}
	o := api.ListOptions{}
	var hold, token, rollout string
	ok := func(name string, call func(context.Context, *api.Client) error) operation {
		return operation{name: name, call: call}
	}
	return []operation{
		ok("version", func(ctx context.Context, c *api.Client) error { return second(c.Version(ctx)) }),
		ok("openapi", func(context.Context, *api.Client) error { return r.get("openapi.json") }),
		ok("history", func(context.Context, *api.Client) error { return r.get("history") }),
		ok("whoami", func(ctx context.Context, c *api.Client) error { return second(c.WhoAmI(ctx)) }),
		ok("overview", func(ctx context.Context, c *api.Client) error { return second(c.Overview(ctx)) }),
		ok("put agent", func(ctx context.Context, c *api.Client) error {
			return second(c.PutAgent(ctx, api.Agent{Name: "demo", RunUser: "nobody", Revision: api.MustNotExist}))
		}),
		{"put agent again", func(ctx context.Context, c *api.Client) error {
			return second(c.PutAgent(ctx, api.Agent{Name: "demo", Revision: api.MustNotExist}))
		}, http.StatusConflict},
		ok("patch agent", func(ctx context.Context, c *api.Client) error {
			a, err := c.PatchAgent(ctx, "demo", api.Patch{"probation": 5}, 0)
			if err == nil && (a.RunUser != "nobody" || a.Probation != 5) {
				err = fmt.Errorf("the patched agent is %+v", a)
			}
			return err
		}),
		{"patch agent at an old revision", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchAgent(ctx, "demo", api.Patch{"probation": 6}, 1))
		}, http.StatusConflict},
		{"patch what is not there", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchAgent(ctx, "nobody", api.Patch{"probation": 6}, 0))
		}, http.StatusNotFound},
		{"patch agent with what it does not have", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchAgent(ctx, "demo", api.Patch{"prob": 6}, 0))
		}, http.StatusBadRequest},
		{"patch agent to be invalid", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchAgent(ctx, "demo", api.Patch{"runUser": "a b"}, 0))
		}, http.StatusBadRequest},
		ok("agents", func(ctx context.Context, c *api.Client) error { return second(c.Agents(ctx, o)) }),
		ok("agent", func(ctx context.Context, c *api.Client) error { return second(c.Agent(ctx, "demo")) }),
		ok("notes", func(ctx context.Context, c *api.Client) error {
			return second(c.PutReleaseNotes(ctx, "demo", "1.0", "first"))
		}),
		ok("upload", func(ctx context.Context, c *api.Client) error {
			return second(c.Upload(ctx, api.Upload{Agent: "demo", Version: "1.0", Tarball: bytes.NewReader(tarball(r.tb, nil))}))
		}),
		ok("sign", func(ctx context.Context, c *api.Client) error {
			return second(c.PutSignature(ctx, api.Artifact{Agent: "demo", Version: "1.0", Arch: "linux_amd64"}, bytes.NewReader(newKey(r.tb).Sign(nil, trust.Release("demo", "1.0", "linux_amd64")))))
		}),
		ok("releases", func(ctx context.Context, c *api.Client) error {
			return second(c.Releases(ctx, api.ListOptions{Agent: "demo"}))
		}),
		ok("release", func(ctx context.Context, c *api.Client) error { return second(c.Release(ctx, "demo", "1.0")) }),
		ok("put group", func(ctx context.Context, c *api.Client) error {
			return second(c.PutGroup(ctx, api.Group{Name: "web", Selector: api.Selector{Prefixes: []string{"web-"}}}))
		}),
		ok("patch group", func(ctx context.Context, c *api.Client) error {
			g, err := c.PatchGroup(ctx, "web", api.Patch{"selector": map[string]any{"labels": map[string]any{"tier": "x"}}, "priority": 2}, 0)
			if err == nil && (len(g.Selector.Prefixes) != 1 || g.Selector.Labels["tier"] != "x" || g.Priority != 2) {
				err = fmt.Errorf("the patched group is %+v", g)
			}
			return err
		}),
		ok("patch group back", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchGroup(ctx, "web", api.Patch{"selector": map[string]any{"labels": nil}}, 0))
		}),
		ok("groups", func(ctx context.Context, c *api.Client) error {
			return second(c.Groups(ctx, api.ListOptions{Search: "WE"}))
		}),
		ok("group", func(ctx context.Context, c *api.Client) error { return second(c.Group(ctx, "web")) }),
		ok("match", func(ctx context.Context, c *api.Client) error {
			return second(c.MatchSelector(ctx, api.Selector{Globs: []string{"w*"}}, o))
		}),
		ok("impact", func(ctx context.Context, c *api.Client) error {
			return second(c.AssignmentImpact(ctx, api.Assignment{Agent: "demo", Scope: web, Version: "1.0"}))
		}),
		ok("assign", func(ctx context.Context, c *api.Client) error {
			return second(c.PutAssignment(ctx, api.Assignment{Agent: "demo", Scope: web, Version: "1.0"}))
		}),
		ok("patch assignment", func(ctx context.Context, c *api.Client) error {
			a, err := c.PatchAssignment(ctx, "demo", web, api.Patch{"keep": 3}, 0)
			if err == nil && (a.Version != "1.0" || a.Keep != 3) {
				err = fmt.Errorf("the patched assignment is %+v", a)
			}
			return err
		}),
		ok("try assignment", func(ctx context.Context, c *api.Client) error {
			return second(c.Assign(ctx, api.Assignment{Agent: "demo", Scope: everyone, Version: "1.0"}, api.AssignOptions{DryRun: true}))
		}),
		{"try assignment of nothing", func(ctx context.Context, c *api.Client) error {
			return second(c.Assign(ctx, api.Assignment{Agent: "demo", Scope: everyone, Version: "7"}, api.AssignOptions{DryRun: true}))
		}, http.StatusBadRequest},
		ok("assignments", func(ctx context.Context, c *api.Client) error {
			return second(c.Assignments(ctx, api.ListOptions{Agent: "demo", Scope: web.String()}))
		}),
		ok("assignment", func(ctx context.Context, c *api.Client) error { return second(c.Assignment(ctx, "demo", web)) }),
		{"no assignment", func(ctx context.Context, c *api.Client) error { return second(c.Assignment(ctx, "demo", everyone)) }, http.StatusNotFound},
		ok("hold", func(ctx context.Context, c *api.Client) error {
			h, err := c.CreateHold(ctx, api.Hold{Scope: api.Scope{Kind: api.ScopeHost, Name: "web-1"}, Reason: "disk"})
			hold = h.ID
			return err
		}),
		ok("holds", func(ctx context.Context, c *api.Client) error { return second(c.Holds(ctx, o)) }),
		ok("hosts", func(ctx context.Context, c *api.Client) error {
			return second(c.Hosts(ctx, api.HostQuery{Group: "web", Failing: true, Search: "web"}))
		}),
		ok("host", func(ctx context.Context, c *api.Client) error { return second(c.Host(ctx, "web-1")) }),
		ok("events", func(ctx context.Context, c *api.Client) error { return second(c.HostEvents(ctx, "web-1", o)) }),
		ok("explain", func(ctx context.Context, c *api.Client) error { return second(c.Explain(ctx, "web-1")) }),
		ok("unhold", func(ctx context.Context, c *api.Client) error { return c.DeleteHold(ctx, hold) }),
		ok("put strategy", func(ctx context.Context, c *api.Client) error {
			return second(c.PutStrategy(ctx, api.Strategy{Name: "careful", Stages: []api.Stage{{Count: 1}, {Percent: 100}}}))
		}),
		ok("patch strategy", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchStrategy(ctx, "careful", api.Patch{"maxFailed": 2}, 0))
		}),
		ok("strategies", func(ctx context.Context, c *api.Client) error { return second(c.Strategies(ctx, o)) }),
		ok("strategy", func(ctx context.Context, c *api.Client) error { return second(c.Strategy(ctx, "careful")) }),
		ok("put channel", func(ctx context.Context, c *api.Client) error {
			return second(c.PutChannel(ctx, api.Channel{Agent: "demo", Name: "stable"}, false))
		}),
		ok("channels", func(ctx context.Context, c *api.Client) error { return second(c.Channels(ctx, o)) }),
		ok("channel", func(ctx context.Context, c *api.Client) error { return second(c.Channel(ctx, "demo", "stable")) }),
		ok("put schedule", func(ctx context.Context, c *api.Client) error {
			return second(c.PutSchedule(ctx, api.Schedule{Name: "production", Channel: "stable"}))
		}),
		ok("patch schedule", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchSchedule(ctx, "production", api.Patch{"paused": true}, 0))
		}),
		ok("schedules", func(ctx context.Context, c *api.Client) error { return second(c.Schedules(ctx, o)) }),
		ok("schedule", func(ctx context.Context, c *api.Client) error { return second(c.Schedule(ctx, "production")) }),
		ok("schedule states", func(ctx context.Context, c *api.Client) error { return second(c.ScheduleStates(ctx, "production")) }),
		ok("schedule plan", func(ctx context.Context, c *api.Client) error {
			return second(c.SchedulePlan(ctx, api.PlanQuery{Schedule: "production"}))
		}),
		ok("schedule plan's hosts", func(ctx context.Context, c *api.Client) error {
			return second(c.SchedulePlanHosts(ctx, api.PlanQuery{Schedule: "production", Agent: "demo"}, api.Cursor{Limit: 3}))
		}),
		ok("delete schedule", func(ctx context.Context, c *api.Client) error { return c.DeleteSchedule(ctx, "production", 0) }),
		ok("delete channel", func(ctx context.Context, c *api.Client) error { return c.DeleteChannel(ctx, "demo", "stable", 0) }),
		ok("export", func(ctx context.Context, c *api.Client) error { return second(c.ExportFleet(ctx)) }),
		ok("apply", func(ctx context.Context, c *api.Client) error {
			return second(c.ApplyFleet(ctx, []byte("agents: [{name: demo, description: changed}]\n"), api.ApplyOptions{DryRun: true}))
		}),
		ok("import", func(ctx context.Context, c *api.Client) error {
			return second(c.ImportConfig(ctx, []byte(`{"agents":[{"default":{"name":"old","version":"1","cmd":"start","tarball":"http://127.0.0.1:1/x"}}]}`), api.ImportOptions{DryRun: true}))
		}),
		ok("create token", func(ctx context.Context, c *api.Client) error {
			t, err := c.CreateToken(ctx, api.NewToken{Name: "bob", Role: api.RoleViewer, TTL: 60})
			token = t.ID
			return err
		}),
		ok("tokens", func(ctx context.Context, c *api.Client) error { return second(c.Tokens(ctx, o)) }),
		ok("make user", func(ctx context.Context, c *api.Client) error {
			return second(c.PutUser(ctx, api.User{Name: "anna", Role: api.RoleViewer, Password: horse, Revision: api.MustNotExist}))
		}),
		{name: "a user twice", fails: http.StatusConflict, call: func(ctx context.Context, c *api.Client) error {
			return second(c.PutUser(ctx, api.User{Name: "anna", Role: api.RoleViewer, Password: horse, Revision: api.MustNotExist}))
		}},
		ok("users", func(ctx context.Context, c *api.Client) error { return second(c.Users(ctx, o)) }),
		ok("user", func(ctx context.Context, c *api.Client) error { return second(c.User(ctx, "anna")) }),
		{name: "a wrong password", fails: http.StatusUnauthorized, call: func(ctx context.Context, c *api.Client) error {
			return second(c.Login(ctx, api.Login{Name: "anna", Password: staple}))
		}},
		ok("log in and out", func(ctx context.Context, c *api.Client) error {
			s, err := c.Login(ctx, api.Login{Name: "anna", Password: horse})
			anna := c.WithToken(s.Secret)
			return cmp.Or(err, second(c.Sessions(ctx, o)), anna.ChangePassword(ctx, api.NewPassword{Current: horse, Password: staple}), anna.EndSession(ctx, api.Self))
		}),
		ok("delete user", func(ctx context.Context, c *api.Client) error { return c.DeleteUser(ctx, "anna", 0) }),
		ok("delete token", func(ctx context.Context, c *api.Client) error { return c.DeleteToken(ctx, token) }),
		ok("audit", func(ctx context.Context, c *api.Client) error {
			return second(c.Audit(ctx, api.ListOptions{Kind: "agent"}))
		}),
		ok("put target", func(ctx context.Context, c *api.Client) error {
			return second(c.PutNotifyTarget(ctx, api.NotifyTarget{Name: "ops", Kind: api.NotifyWebhook, URL: "http://127.0.0.1:1/"}))
		}),
		ok("targets", func(ctx context.Context, c *api.Client) error { return second(c.NotifyTargets(ctx, o)) }),
		ok("dead letters", func(ctx context.Context, c *api.Client) error { return second(c.DeadLetters(ctx, o)) }),
		ok("get target", func(context.Context, *api.Client) error { return r.get("notifications/targets/ops") }),
		ok("patch target", func(ctx context.Context, c *api.Client) error {
			return second(c.PatchNotifyTarget(ctx, "ops", api.Patch{"disabled": true}, 0))
		}),
		ok("delete target", func(ctx context.Context, c *api.Client) error { return c.DeleteNotifyTarget(ctx, "ops", 0) }),
		ok("make server key", func(ctx context.Context, c *api.Client) error {
			if _, err := c.MakeServerKey(ctx); err != nil { // signs at once
				return err
			}
			return second(c.MakeServerKey(ctx))
		}),
		ok("rotate server key", func(ctx context.Context, c *api.Client) error { return second(c.RotateServerKey(ctx)) }),
		ok("publish key list", func(ctx context.Context, c *api.Client) error {
			report, err := c.Keys(ctx)
			if err != nil {
				return err
			}
			return second(publishKeys(r.tb, c, privateKey(r.tb), 1, report.Own[0].KeyID))
		}),
		ok("forget key", func(ctx context.Context, c *api.Client) error {
			made, err := c.MakeServerKey(ctx)
			if err != nil {
				return err
			}
			return c.DeleteKey(ctx, made.ID)
		}),
		ok("keys", func(ctx context.Context, c *api.Client) error { return second(c.Keys(ctx)) }),
		ok("doctor", func(ctx context.Context, c *api.Client) error { return second(c.Doctor(ctx)) }),
		ok("backup", func(ctx context.Context, c *api.Client) error { return c.Backup(ctx, io.Discard) }),
		ok("standstill", func(ctx context.Context, c *api.Client) error { return second(c.Standstill(ctx)) }),
		{"end no standstill", func(ctx context.Context, c *api.Client) error {
			return second(c.EndStandstill(ctx, api.EndStandstill{}))
		}, http.StatusConflict},
		ok("prune", func(ctx context.Context, c *api.Client) error { return second(c.PruneArtifacts(ctx, 1, true)) }),
		ok("try rollout", func(ctx context.Context, c *api.Client) error {
			r, err := c.TryRollout(ctx, api.NewRollout{Agent: "demo", Version: "1.0", Scope: web})
			if all, _ := c.Rollouts(ctx, o); err == nil && (r.State != api.RolloutRunning || len(all.Items) != 0) {
				err = fmt.Errorf("tried %+v, there are %+v", r, all.Items)
			}
			return err
		}),
		{"try rollout of nothing", func(ctx context.Context, c *api.Client) error {
			return second(c.TryRollout(ctx, api.NewRollout{Agent: "demo", Version: "7", Scope: web}))
		}, http.StatusBadRequest},
		ok("create rollout", func(ctx context.Context, c *api.Client) error {
			r, err := c.CreateRollout(ctx, api.NewRollout{Agent: "demo", Version: "1.0", Scope: web, Strategy: "careful", Draft: true})
			rollout = r.ID
			return err
		}),
		ok("approve", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionApprove, api.RolloutAction{}))
		}),
		ok("pause", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionPause, api.RolloutAction{Reason: "lunch"}))
		}),
		ok("resume", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionResume, api.RolloutAction{}))
		}),
		ok("skip", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionSkip, api.RolloutAction{Reason: "enough"}))
		}),
		{"retry of nothing", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionRetry, api.RolloutAction{}))
		}, http.StatusConflict},
		ok("rollouts", func(ctx context.Context, c *api.Client) error {
			return second(c.Rollouts(ctx, api.ListOptions{State: "active", Agent: "demo"}))
		}),
		ok("rollout", func(ctx context.Context, c *api.Client) error { return second(c.Rollout(ctx, rollout)) }),
		ok("transitions", func(ctx context.Context, c *api.Client) error { return second(c.Transitions(ctx, rollout, o)) }),
		ok("grants", func(ctx context.Context, c *api.Client) error {
			return second(c.Grants(ctx, rollout, api.ListOptions{State: "pending"}))
		}),
		ok("rollout hosts", func(ctx context.Context, c *api.Client) error {
			return second(c.RolloutHosts(ctx, rollout, api.ListOptions{State: "waiting"}))
		}),
		{"rollout hosts in no state", func(ctx context.Context, c *api.Client) error {
			return second(c.RolloutHosts(ctx, rollout, api.ListOptions{State: "odd"}))
		}, http.StatusBadRequest},
		{"grants in no state", func(ctx context.Context, c *api.Client) error {
			return second(c.Grants(ctx, rollout, api.ListOptions{State: "odd"}))
		}, http.StatusBadRequest},
		ok("abort", func(ctx context.Context, c *api.Client) error {
			return second(c.ActOnRollout(ctx, rollout, api.ActionAbort, api.RolloutAction{}))
		}),
		ok("unassign", func(ctx context.Context, c *api.Client) error { return c.DeleteAssignment(ctx, "demo", web, 0) }),
		ok("delete release", func(ctx context.Context, c *api.Client) error { return c.DeleteRelease(ctx, "demo", "1.0") }),
		ok("delete group", func(ctx context.Context, c *api.Client) error { return c.DeleteGroup(ctx, "web", 0) }),
		ok("delete strategy", func(ctx context.Context, c *api.Client) error { return c.DeleteStrategy(ctx, "careful", 0) }),
		ok("delete agent", func(ctx context.Context, c *api.Client) error { return c.DeleteAgent(ctx, "demo", 0) }),
		ok("delete host", func(ctx context.Context, c *api.Client) error { return c.DeleteHost(ctx, "web-1") }),
	}
}

func second[T any](_ T, err error) error { return err }

// The routes that are served are exactly those of the document: a path that
// is not in it is a 404 problem, a method that is not in it a 405.
func TestWhatTheDocumentDoesNotHaveIsNotServed(t *testing.T) {
	r := start(t, newConfig(t))
	for request, want := range map[string]int{
		"GET /api/v1/nothing":          http.StatusNotFound,
		"GET /api/v1/":                 http.StatusNotFound,
		"PATCH /api/v1/overview":       http.StatusMethodNotAllowed,
		"POST /api/v1/agents":          http.StatusMethodNotAllowed,
		"DELETE /api/v1/overview":      http.StatusMethodNotAllowed,
		"GET /api/v1/agents/a/b/c/d/e": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		resp := r.raw(t, method, path, nil)
		var p api.Problem
		if err := json.Unmarshal(resp.body, &p); err != nil || resp.StatusCode != want || p.Status != want || p.Hint == "" {
			t.Errorf("%s: got %d %s, want a problem with status %d and a hint", request, resp.StatusCode, resp.body, want)
		}
	}
}
