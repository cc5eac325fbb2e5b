package main

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// What a command line says is what the server is sent.
func TestWhatFlagsSay(t *testing.T) {
	const stages = `"strategy":{"deadline":90,"maxFailed":2,"name":"inline","onFailure":"abort","stages":[{"count":1,"soak":300},{"percent":12.5,"soak":300},{"percent":100,"soak":300}]}`
	for line, want := range map[string]struct{ route, body string }{
		"deploy probe 2.0": {
			"POST /rollouts", `{"agent":"probe","scope":{"kind":"everyone"},"version":"2.0"}`,
		},
		"deploy probe 2.0 --group web --draft --reason why --strategy slow --force": {
			"POST /rollouts", `{"agent":"probe","draft":true,"force":true,"reason":"why","scope":{"kind":"group","name":"web"},"strategy":"slow","version":"2.0"}`,
		},
		"rollout create probe 2.0 --stages 1,12.5%,100% --soak 5m --deadline 90 --max-failed 2 --on-failure abort": {
			"POST /rollouts", `{"agent":"probe","inline":` + strings.TrimPrefix(stages, `"strategy":`) + `,"scope":{"kind":"everyone"},"version":"2.0"}`,
		},
		"deploy probe 2.0 --now --host web-1": {
			"PUT /agents/probe/assignments/host:web-1", `{"agent":"probe","cmd":"start","revision":-1,"scope":{"kind":"host","name":"web-1"},"version":"2.0"}`,
		},
		"deploy probe 2.0 --cmd stop": {
			"PUT /agents/probe/assignments/everyone", `{"agent":"probe","cmd":"stop","revision":-1,"scope":{"kind":"everyone"},"version":"2.0"}`,
		},
		"assign set probe 2.0 --group web --probation 1m30s --run-user=": {
			"PATCH /agents/probe/assignments/group:web", `{"probation":90,"runUser":"","version":"2.0"}`,
		},
		"group set web --label role=web,zone=a --label rack=7 --host a --host b": {
			"PATCH /groups/web", `{"selector":{"hosts":["a","b"],"labels":{"rack":"7","role":"web","zone":"a"}}}`,
		},
		"group set web --label= --glob=": {
			"PATCH /groups/web", `{"selector":{"globs":null,"labels":null}}`,
		},
		"group set web --label role=web --label=": {
			"PATCH /groups/web", `{"selector":{"labels":null}}`,
		},
		"agents set probe --keep 3 --probation 2d": {
			"PATCH /agents/probe", `{"keep":3,"probation":172800}`,
		},
		"strategy set slow --window mon,TUE_22:00-06:00_Europe/Berlin --rate 50/10m": {
			"PATCH /strategies/slow", `{"rate":{"hosts":50,"period":600},"window":{"days":["mon","tue"],"from":"22:00","to":"06:00","zone":"Europe/Berlin"}}`,
		},
		"strategy set slow --window= --rate=": {
			"PATCH /strategies/slow", `{"rate":null,"window":null}`,
		},
		"strategy set slow --approval 2 --soak 60": {
			"PATCH /strategies/slow", `{"stages":[{"count":1,"soak":60},{"approval":true,"percent":100,"soak":60}]}`,
		},
		"token create ci --role operator --expires 90d": {
			"POST /tokens", `{"name":"ci","role":"operator","ttl":7776000}`,
		},
		"schedule set trial --everyone": {
			"PATCH /schedules/trial", `{"scope":{"kind":"everyone","name":null}}`,
		},
		"schedule set trial --group web --agents=": {
			"PATCH /schedules/trial", `{"agents":[],"scope":{"kind":"group","name":"web"}}`,
		},
		"rollout pause r1 --reason lunch": {
			"POST /rollouts/r1/pause", `{"reason":"lunch"}`,
		},
	} {
		t.Run(line, func(t *testing.T) {
			atHome(t)
			f := serveRoutes(t, map[string]any{
				"POST /impact": api.Impact{Hosts: 3, Changed: 3}, "POST /rollouts": api.Rollout{ID: "r1"}, "GET /rollouts/r1": api.Rollout{ID: "r1"},
				"POST /rollouts/r1/pause": api.Rollout{ID: "r1"}, "POST /tokens": api.Token{}, "GET /hosts/web-1": api.Host{Name: "web-1"},
				"PUT /agents/probe/assignments/host:web-1": api.Assignment{}, "PUT /agents/probe/assignments/everyone": api.Assignment{},
				"PATCH /agents/probe/assignments/group:web": api.Assignment{}, "PATCH /groups/web": api.Group{}, "PATCH /agents/probe": api.Agent{},
				"GET /agents/probe": api.Agent{}, "GET /groups/web": api.Group{}, "POST /selectors/match": pageOf[api.Host](),
				"GET /strategies/slow":   api.Strategy{Name: "slow", Stages: []api.Stage{{Count: 1}, {Percent: 100, Approval: true}}, Revision: 4},
				"PATCH /strategies/slow": api.Strategy{}, "PATCH /schedules/trial": api.Schedule{},
			})
			args := strings.Fields(line)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
			if r := ops(t, f.at(args...)...); r.code != 0 {
				t.Fatalf("%+v", r)
			}
			if got := f.sent(t, want.route); got != want.body {
				t.Errorf("sent\n%s, want\n%s", got, want.body)
			}
		})
	}
}

func TestWhatFiltersSay(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{
		"GET /hosts": pageOf[api.Host](), "GET /overview": api.Overview{Arches: map[string]int{"linux_amd64": 1}, Agents: []api.AgentOverview{{Name: "probe", Versions: map[string]int{"1": 1}}}},
		"GET /agents": pageOf(api.Agent{Name: "probe"}), "GET /groups": pageOf(api.Group{Name: "web"}), "GET /audit": pageOf[api.AuditEntry](),
		"GET /releases": pageOf(api.Release{Agent: "probe", Version: "2"}),
	})
	for line, want := range map[string]string{
		"hosts web --failing --limit 5":                      "GET /hosts?failing=true&limit=5&q=web",
		"hosts --label b=2 --label a=1,c=":                   "GET /hosts?label=a%3D1&label=b%3D2&label=c%3D",
		"hosts --group web --agent probe --arch linux_amd64": "GET /hosts?agent=probe&arch=linux_amd64&group=web",
		"hosts --agent probe --version 2 --status started":   "GET /hosts?agent=probe&status=started&version=2",
		"hosts --drifted --silent --in-order --problem":      "GET /hosts?drifted=true&inOrder=true&problem=true&silent=true",
		"audit --actor ann --name probe --kind agent":        "GET /audit?actor=ann&kind=agent&limit=50&q=probe",
	} {
		if r := ops(t, f.at(strings.Fields(line)...)...); r.code != 0 {
			t.Errorf("%s: %+v", line, r)
		}
		if got := f.requests[len(f.requests)-1]; got != want {
			t.Errorf("%s: asked %s, want %s", line, got, want)
		}
	}
}

// A filter of a typo finds nothing, which would read as "no host is so".
func TestNearestWordsOfFilters(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{
		"GET /hosts": pageOf[api.Host](), "GET /overview": api.Overview{Arches: map[string]int{"linux_amd64": 1}, Agents: []api.AgentOverview{{Name: "probe", Versions: map[string]int{"1.0.0": 1}}}},
		"GET /agents": pageOf(api.Agent{Name: "probe"}), "GET /groups": pageOf(api.Group{Name: "webserver"}), "GET /releases": pageOf(api.Release{Version: "2.0.0"}),
	})
	for line, want := range map[string]struct {
		exit int
		hint string
	}{
		"hosts --agent prob":          {3, `did you mean "probe"?`},
		"hosts --group webservers":    {3, `did you mean "webserver"?`},
		"hosts --arch linux_amd46":    {3, `did you mean "linux_amd64"?`},
		"hosts --version 2.0.1":       {3, `did you mean "2.0.0"?`},
		"hosts --status strated":      {2, `did you mean "started"?`},
		"hosts --phase downloding":    {2, `did you mean "downloading"?`},
		"hosts --phase zzz":           {2, "want one of "},
		"rollout list --state runnng": {2, `did you mean "running"?`},
		"hosts --sort zeal":           {2, "want arch, first, ip, name, seen"},
	} {
		if r := ops(t, f.at(strings.Fields(line)...)...); r.code != want.exit || !strings.Contains(r.err, "hint: "+want.hint) {
			t.Errorf("%s: %+v, want exit code %d", line, r, want.exit)
		}
	}
}

func TestBeginningsOfNames(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{
		"GET /hosts":      pageOf(api.Host{Name: "web-1"}, api.Host{Name: "web-2"}, api.Host{Name: "db-1"}),
		"GET /hosts/db-1": api.Host{Name: "db-1"}, "GET /hosts/db-1/events": pageOf[api.Event](),
		"GET /rollouts":    pageOf(api.Rollout{ID: "r9", Agent: "probe", State: api.RolloutCompleted}, api.Rollout{ID: "r7", Agent: "probe", State: api.RolloutRunning}),
		"GET /rollouts/r7": api.Rollout{ID: "r7"}, "GET /rollouts/r7/grants": pageOf[api.Grant](), "GET /rollouts/r7/transitions": pageOf[api.Transition](),
	})
	for line, want := range map[string]struct {
		exit int
		text string // of either stream
	}{
		"host db":             {0, "db-1  "},
		"host web":            {2, `"web" is the beginning of several hosts`},
		"host dv-1":           {3, `did you mean "db-1"?`},
		"rollout show probe":  {0, "rollout r7"}, // the one that has not ended
		"rollout show prob":   {0, "rollout r7"},
		"rollout show prbe":   {3, `did you mean "probe"?`},
		"rollout pause zzzzz": {3, "there is no /rollouts/zzzzz"},
	} {
		if r := ops(t, f.at(strings.Fields(line)...)...); r.code != want.exit || !strings.Contains(r.out+r.err, want.text) {
			t.Errorf("%s: %+v, want exit code %d", line, r, want.exit)
		}
	}
}
