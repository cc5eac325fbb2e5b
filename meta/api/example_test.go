package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/ops-updater/ops-updater/meta/api"
)

// reply is a handler that answers with v; a problem with its status.
func reply(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if p, refused := v.(api.Problem); refused {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.Status)
		}
		_ = json.NewEncoder(w).Encode(v)
	}
}

// exampleClient is a client of a server that has these routes and no other.
func exampleClient(routes map[string]http.HandlerFunc) (client *api.Client, done func()) {
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, handler)
	}
	server := httptest.NewServer(mux)
	client, err := api.NewClient(api.ClientConfig{Server: server.URL, Token: "om_secret"})
	if err != nil {
		panic(err)
	}
	return client, server.Close
}

// A release goes out in stages; what it would change can be asked before.
func ExampleClient_CreateRollout() {
	client, done := exampleClient(map[string]http.HandlerFunc{
		"POST /api/v1/impact":   reply(api.Impact{Hosts: 120, Changed: 118, Held: 2}),
		"POST /api/v1/rollouts": reply(api.Rollout{ID: "r7", State: api.RolloutRunning}),
	})
	defer done()
	ctx := context.Background()
	wanted := api.NewRollout{
		Agent: "probe", Version: "1.4.0", Scope: api.Scope{Kind: api.ScopeGroup, Name: "web"}, Reason: "CVE-2026-1234",
		Inline: &api.Strategy{Stages: []api.Stage{{Count: 1, Soak: 600}, {Percent: 100}}, OnFailure: api.OnFailureRollback},
	}
	impact, err := client.RolloutImpact(ctx, wanted)
	if err != nil {
		fmt.Println(err)
		return
	}
	rollout, err := client.CreateRollout(ctx, wanted)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d of %d hosts change, %d are held\n", impact.Changed, impact.Hosts, impact.Held)
	fmt.Println("rollout", rollout.ID, rollout.State)
	// Output:
	// 118 of 120 hosts change, 2 are held
	// rollout r7 running
}

// A listing comes in pages; All follows them to the end.
func ExampleAll() {
	client, done := exampleClient(map[string]http.HandlerFunc{
		"GET /api/v1/hosts": func(w http.ResponseWriter, r *http.Request) {
			page := api.Page[api.Host]{Items: []api.Host{{Name: "web-1"}}, Next: "web-1"}
			if r.FormValue("cursor") == "web-1" {
				page = api.Page[api.Host]{Items: []api.Host{{Name: "web-2"}}}
			}
			reply(page)(w, r)
		},
	})
	defer done()

	failing, err := api.All(func(cursor string) (api.Page[api.Host], error) {
		return client.Hosts(context.Background(), api.HostQuery{Group: "web", Failing: true, After: cursor})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range failing {
		fmt.Println(host.Name)
	}
	// Output:
	// web-1
	// web-2
}

// A write with the revision that was read is refused when somebody else was
// faster; a Problem says so, and what to do.
func ExampleProblem() {
	client, done := exampleClient(map[string]http.HandlerFunc{
		"GET /api/v1/agents/probe": reply(api.Agent{Name: "probe", Revision: 3}),
		"PUT /api/v1/agents/probe": reply(api.Problem{
			Type: "urn:ops-meta:conflict", Title: "Conflict", Status: http.StatusConflict,
			Detail: "agent probe is at revision 4", Hint: "read it again and repeat the change on what you find",
		}),
	})
	defer done()
	ctx := context.Background()
	agent, err := client.Agent(ctx, "probe")
	if err != nil {
		fmt.Println(err)
		return
	}
	agent.Description = "measures the way to our users"
	_, err = client.PutAgent(ctx, agent)
	var problem *api.Problem
	if errors.As(err, &problem) {
		fmt.Println(problem.Status, problem)
		fmt.Println("hint:", problem.Hint)
	}
	// Output:
	// 409 agent probe is at revision 4
	// hint: read it again and repeat the change on what you find
}

// Only what a patch names is changed; null takes a field away.
func ExampleClient_PatchAgent() {
	client, done := exampleClient(map[string]http.HandlerFunc{
		"PATCH /api/v1/agents/probe": func(w http.ResponseWriter, r *http.Request) {
			var patch api.Patch
			if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
				panic(err)
			}
			var agent api.Agent
			if err := patch.Apply(api.Agent{Name: "probe", RunUser: "probe", Keep: 2}, &agent); err != nil {
				panic(err)
			}
			reply(agent)(w, r)
		},
	})
	defer done()

	agent, err := client.PatchAgent(context.Background(), "probe", api.Patch{"keep": 5, "runUser": nil}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s keeps %d, runs as %q\n", agent.Name, agent.Keep, agent.RunUser)
	// Output: probe keeps 5, runs as ""
}

// Changes are told as they happen.
func ExampleClient_Follow() {
	client, done := exampleClient(map[string]http.HandlerFunc{
		"GET /api/v1/events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "id: 7\ndata: {\"seq\":7,\"kind\":\"open\"}\n\nid: 8\ndata: {\"seq\":8,\"kind\":\"host\",\"name\":\"web-1\"}\n\n")
		},
	})
	defer done()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	err := client.Follow(ctx, 0, func(item api.FeedItem) {
		fmt.Printf("%d %s %q\n", item.Seq, item.Kind, item.Name)
		if item.Name == "web-1" {
			stop() // else until the server goes away
		}
	})
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// 7 open ""
	// 8 host "web-1"
	// true
}

func ExampleParseScope() {
	for _, text := range []string{"everyone", "group:web", "all"} {
		scope, err := api.ParseScope(text)
		fmt.Printf("%q %v\n", scope.Name, err)
	}
	// Output:
	// "" <nil>
	// "web" <nil>
	// "" scope "all" is not known: want everyone, group:NAME, host:NAME or agent:NAME
}
