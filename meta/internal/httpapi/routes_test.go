package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// exchange is a request that succeeds, and what the backend hears of it.
type exchange struct {
	operation, request, body string
	want                     string // question to the backend; empty: it is not asked
}

const (
	byAnn = " {Name:ann From:192.0.2.1 Remits:}"
	page  = " {After: Limit:100}"
	group = " group:web"
)

// exchanges has at least one of every operation.
var exchanges = []exchange{
	{"version", "GET /version", "", ""},
	{"openapi", "GET /openapi.json", "", ""},
	{"whoAmI", "GET /whoami", "", ""},
	{"overview", "GET /overview", "", "Overview"},
	{"history", "GET /history?agent=a", "", "Samples a"},
	{"follow", "GET /events?after=3", "", ""},
	{"listAudit", "GET /audit?actor=ann&action=create&kind=agent&q=a&limit=5", "", "Audit ann create agent a {After: Limit:5}"},
	{"listAgent", "GET /agents?q=a&cursor=b&limit=7", "", "listAgent a {After:b Limit:7}"},
	{"getAgent", "GET /agents/a", "", "getAgent a"},
	{"putAgent", "PUT /agents/a", `{"description":"x"}`, "putAgent" + byAnn + " a 0"},
	{"patchAgent", "PATCH /agents/a", `{"keep":3}`, "putAgent" + byAnn + " a 1"},
	{"deleteAgent", "DELETE /agents/a", "", "deleteAgent" + byAnn + " a 0"},
	{"listGroup", "GET /groups", "", "listGroup " + page},
	{"getGroup", "GET /groups/web", "", "getGroup web"},
	{"putGroup", "PUT /groups/web", `{}`, "putGroup" + byAnn + " web 0"},
	{"patchGroup", "PATCH /groups/web", `{}`, "putGroup" + byAnn + " web 1"},
	{"deleteGroup", "DELETE /groups/web", "", "deleteGroup" + byAnn + " web 0"},
	{"listStrategy", "GET /strategies", "", "listStrategy " + page},
	{"getStrategy", "GET /strategies/slow", "", "getStrategy slow"},
	{"putStrategy", "PUT /strategies/slow", `{}`, "putStrategy" + byAnn + " slow 0"},
	{"patchStrategy", "PATCH /strategies/slow", `{}`, "putStrategy" + byAnn + " slow 1"},
	{"deleteStrategy", "DELETE /strategies/slow", "", "deleteStrategy" + byAnn + " slow 0"},
	{"listSchedule", "GET /schedules", "", "listSchedule " + page},
	{"getSchedule", "GET /schedules/prod", "", "getSchedule prod"},
	{"putSchedule", "PUT /schedules/prod", `{}`, "putSchedule" + byAnn + " prod 0"},
	{"patchSchedule", "PATCH /schedules/prod", `{}`, "putSchedule" + byAnn + " prod 1"},
	{"deleteSchedule", "DELETE /schedules/prod", "", "deleteSchedule" + byAnn + " prod 0"},
	{"listScheduleStates", "GET /schedules/prod/states", "", "ScheduleStates prod"},
	{"getSchedulePlan", "GET /schedules/prod/plan?agent=a&version=2&from=1970-01-01T00:01:00Z&takes=90", "", "SchedulePlan prod a 2 60 90"},
	{"listSchedulePlanHosts", "GET /schedules/prod/plan/hosts?agent=a&limit=3", "", "SchedulePlanHosts prod a {After: Limit:3}"},
	{"listChannels", "GET /channels?agent=a", "", "Channels a" + page},
	{"getChannel", "GET /agents/a/channels/stable", "", "Channel a stable"},
	{"putChannel", "PUT /agents/a/channels/stable?downgrade=1", `{"version":"1.0"}`, "PutChannel" + byAnn + " a stable 1.0 0 true"},
	{"deleteChannel", "DELETE /agents/a/channels/stable", "", "DeleteChannel" + byAnn + " a stable 0"},
	{"listNotifyTarget", "GET /notifications/targets", "", "listNotifyTarget " + page},
	{"getNotifyTarget", "GET /notifications/targets/chat", "", "getNotifyTarget chat"},
	{"putNotifyTarget", "PUT /notifications/targets/chat", `{}`, "putNotifyTarget" + byAnn + " chat 0"},
	{"patchNotifyTarget", "PATCH /notifications/targets/chat", `{}`, "putNotifyTarget" + byAnn + " chat 1"},
	{"deleteNotifyTarget", "DELETE /notifications/targets/chat", "", "deleteNotifyTarget" + byAnn + " chat 0"},
	{"testNotifyTarget", "POST /notifications/targets/chat/test", "", "TestTarget" + byAnn + " chat"},
	{"listDeadLetters", "GET /notifications/dead", "", "DeadLetters" + page},
	{"retryDeadLetter", "POST /notifications/dead/7/retry", "", "RetryDeadLetter" + byAnn + " 7"},
	{"dropDeadLetter", "DELETE /notifications/dead/7", "", "DropDeadLetter" + byAnn + " 7"},
	{"listReleases", "GET /releases?agent=a", "", "Releases a" + page},
	{"getRelease", "GET /agents/a/releases/1.0", "", "Release {Agent:a Version:1.0 Arch:}"},
	{"putReleaseNotes", "PUT /agents/a/releases/1.0", `{"notes":"n"}`, "PutReleaseNotes" + byAnn + " {Agent:a Version:1.0 Arch:} n"},
	{"deleteRelease", "DELETE /agents/a/releases/1.0", "", "DeleteRelease" + byAnn + " {Agent:a Version:1.0 Arch:}"},
	{"registerArtifact", "POST /agents/a/releases/1.0/artifacts", `{"arch":"linux_arm64","external":"http://r"}`, "Register" + byAnn + " {Agent:a Version:1.0 Arch:linux_arm64} http://r"},
	{"uploadArtifact", "PUT /agents/a/releases/1.0/artifacts/linux_arm64?sha256=ab", "bytes", "Upload" + byAnn + " a 1.0 linux_arm64 5 ab bytes"},
	{"uploadArtifact", "PUT /agents/a/releases/1.0/artifacts/auto", "bytes", "Upload" + byAnn + " a 1.0  5  bytes"},
	{"putSignature", "PUT /agents/a/releases/1.0/artifacts/linux_arm64/signature", "sig", "Sign" + byAnn + " {Agent:a Version:1.0 Arch:linux_arm64} sig"},
	{"pruneArtifacts", "POST /artifacts/prune", "", "Prune" + byAnn + " 30 false"},
	{"pruneArtifacts", "POST /artifacts/prune?dryRun=true&olderThanDays=3", "", "Prune" + byAnn + " 3 true"},
	{"listAssignments", "GET /assignments?agent=a&scope=group:web", "", "Assignments a" + group + page},
	{"getAssignment", "GET /agents/a/assignments/group:web", "", "Assignment a" + group},
	{"putAssignment", "PUT /agents/a/assignments/group:web?dryRun=true&force=1", `{"version":"1.0"}`, "PutAssignment" + byAnn + " a" + group + " 1.0 0 {DryRun:true Force:true}"},
	{"patchAssignment", "PATCH /agents/a/assignments/everyone", `{"version":"2"}`, "ChangeAssignment" + byAnn + " a everyone 0"},
	{"deleteAssignment", "DELETE /agents/a/assignments/host:h%2F1", "", "DeleteAssignment" + byAnn + " a host:h/1 0"},
	{"impact", "POST /impact", `{"agent":"a","scope":{"kind":"group","name":"web"},"version":"1.0"}`, "Impact a" + group + " 1.0"},
	{"listHolds", "GET /holds?scope=group:web", "", "Holds" + group + page},
	{"createHold", "POST /holds", `{"scope":{"kind":"group","name":"web"}}`, "CreateHold" + byAnn + group},
	{"deleteHold", "DELETE /holds/h1", "", "DeleteHold" + byAnn + " h1"},
	{"getHost", "GET /hosts/h", "", "Host h"},
	{"deleteHost", "DELETE /hosts/h", "", "DeleteHost" + byAnn + " h"},
	{"listHostEvents", "GET /hosts/h/events?agent=a&kind=version&since=1970-01-01T00:01:00Z", "", "Events h a version 60" + page},
	{"explain", "GET /hosts/h/explain", "", "Explain h"},
	{"matchSelector", "POST /selectors/match?limit=2", `{"hosts":["h"]}`, "Match [h] {After: Limit:2}"},
	{"exportFleet", "GET /fleet", "", "Export false"},
	{"applyFleet", "PUT /fleet?dryRun=1&now=1&overwrite=1", "a: b", "Apply" + byAnn + " a: b {DryRun:true Now:true Overwrite:true}"},
	{"importConfig", "POST /fleet/import?partial=true", `{"a":1}`, "Import" + byAnn + ` {"a":1} false true`},
	{"listTokens", "GET /tokens", "", "Tokens" + page},
	{"listTokens", "GET /tokens?role=host", "", "Credentials" + page},
	{"createToken", "POST /tokens", `{"name":"bob","role":"viewer","ttl":60}`, "CreateToken" + byAnn + " bob viewer true"},
	{"createToken", "POST /tokens", `{"name":"bob","role":"viewer"}`, "CreateToken" + byAnn + " bob viewer false"},
	{"deleteToken", "DELETE /tokens/t1", "", "DeleteToken" + byAnn + " t1"},
	{"listUsers", "GET /users?q=b", "", "Users b" + page},
	{"getUser", "GET /users/bob", "", "User bob"},
	{"putUser", "PUT /users/bob", `{"role":"viewer","password":"correct horse"}`, "PutUser" + byAnn + " bob viewer correct horse 0"},
	{"deleteUser", "DELETE /users/bob", "", "DeleteUser" + byAnn + " bob 0"},
	{"logIn", "POST /sessions", `{"name":"bob","password":"correct horse"}`, "LogIn 192.0.2.1 {Name:bob Password:correct horse}"},
	{"loginProvider", "GET /provider", "", ""},
	{"beginLogin", "POST /provider/begin", `{"next":"/hosts"}`, "BeginLogin /hosts"},
	{"finishLogin", "POST /provider/finish", `{"ticket":"t","state":"s","code":"c"}`, "FinishLogin 192.0.2.1 {Ticket:t State:s Code:c Error:}"},
	{"redeemLogin", "POST /provider/redeem", `{"code":"c","verifier":"v"}`, "RedeemLogin 192.0.2.1 {Code:c Verifier:v}"},
	{"listSessions", "GET /sessions", "", "Sessions " + page},
	{"endSession", "DELETE /sessions/s1", "", "EndSession" + byAnn + " s1 "},
	{"changePassword", "PUT /sessions/self/password", `{"current":"correct horse","password":"battery staple"}`, "ChangePassword" + byAnn + " s-ann {Current:correct horse Password:battery staple}"},
	{"enroll", "POST /enroll", `{"hostname":" h "}`, "Enroll" + byAnn + " h"},
	{"listRollouts", "GET /rollouts?agent=a&state=running", "", "Rollouts {Agent:a State:running Active:false}" + page},
	{"listRollouts", "GET /rollouts?state=active", "", "Rollouts {Agent: State: Active:true}" + page},
	{"createRollout", "POST /rollouts", `{"agent":"a","version":"1.0"}`, "CreateRollout" + byAnn + " a 1.0"},
	{"createRollout", "POST /rollouts?dryRun=true", `{"agent":"a","version":"1.0"}`, "TryRollout" + byAnn + " a 1.0"},
	{"getRollout", "GET /rollouts/r1", "", "Rollout r1"},
	{"listTransitions", "GET /rollouts/r1/transitions", "", "Transitions r1" + page},
	{"listGrants", "GET /rollouts/r1/grants?state=pending", "", "Grants r1 true " + page},
	{"listGrants", "GET /rollouts/r1/grants?state=failed", "", "Grants r1 false failed" + page},
	{"listRolloutHosts", "GET /rollouts/r1/hosts?state=waiting", "", "RolloutHosts r1 waiting" + page},
	{"approveRollout", "POST /rollouts/r1/approve", `{"reason":"y"}`, "ActOnRollout" + byAnn + " r1 approve y"},
	{"pauseRollout", "POST /rollouts/r1/pause", `{}`, "ActOnRollout" + byAnn + " r1 pause "},
	{"resumeRollout", "POST /rollouts/r1/resume", `{}`, "ActOnRollout" + byAnn + " r1 resume "},
	{"retryRollout", "POST /rollouts/r1/retry", `{}`, "ActOnRollout" + byAnn + " r1 retry "},
	{"skipRollout", "POST /rollouts/r1/skip", `{}`, "ActOnRollout" + byAnn + " r1 skip "},
	{"abortRollout", "POST /rollouts/r1/abort", `{}`, "ActOnRollout" + byAnn + " r1 abort "},
	{"rollbackRollout", "POST /rollouts/r1/rollback", `{}`, "ActOnRollout" + byAnn + " r1 rollback "},
	{"doctor", "GET /doctor", "", "Doctor"},
	{"backup", "POST /backup", "", "Backup" + byAnn},
	{"standstill", "GET /standstill", "", "Standstill"},
	{"endStandstill", "POST /standstill/end", `{}`, "Standstill"},
	{
		"listHosts", "GET /hosts?q=s&group=g&agent=a&version=1&status=started&phase=idle&arch=linux_amd64&trust=warn&label=k=v&label=z=&failing=1&silent=1&problem=1&drifted=1&inOrder=1&cursor=h&limit=9", "",
		"Hosts {Search:s Group:g Agent:a Version:1 Status:started Phase:idle Arch:linux_amd64 Labels:map[k:v z:] Failing:true Silent:true Problem:true Drifted:true InOrder:true Trust:warn After:h Limit:9}",
	},
}

// known is a memory in which every noun that exchanges name is there.
func known() *memory {
	m := newMemory()
	m.agents.byName["a"] = api.Agent{Name: "a", Revision: 1}
	m.groups.byName["web"] = api.Group{Name: "web", Revision: 1}
	m.strategies.byName["slow"] = api.Strategy{Name: "slow", Revision: 1}
	m.schedules.byName["prod"] = api.Schedule{Name: "prod", Revision: 1}
	m.targets.byName["chat"] = api.NotifyTarget{Name: "chat", Revision: 1}
	return m
}

// callerOf is a role that may do an operation.
func callerOf(operation string) api.Role {
	switch operation {
	case "enroll":
		return api.RoleEnroll
	case "changePassword":
		return asPerson
	}
	return api.RoleAdmin
}

func TestEveryRouteReachesWhatItIsFor(t *testing.T) {
	for _, x := range exchanges {
		t.Run(x.request, func(t *testing.T) {
			m := known()
			w := ask(newServer(t, m), callerOf(x.operation), x.request, x.body)
			if w.Code/100 != 2 {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			asked := m.questions()
			if x.want == "" && len(asked) > 0 || x.want != "" && (len(asked) == 0 || asked[len(asked)-1] != x.want) {
				t.Errorf("the backend was asked %q, want %q", asked, x.want)
			}
		})
	}
}

func TestWhatIsNotServed(t *testing.T) {
	for request, want := range map[string]struct {
		status int
		allow  []string
		detail string
	}{
		"GET /agent":               {404, nil, "there is no /api/v1/agent"},
		"GET /agents/a/b":          {404, nil, "there is no /api/v1/agents/a/b"},
		"POST /agents":             {405, []string{"GET"}, "POST is not possible here"},
		"POST /agents/a":           {405, []string{"DELETE", "GET", "PATCH", "PUT"}, "POST is not possible here"},
		"GET /rollouts/r1/approve": {405, []string{"POST"}, "GET is not possible here"},
		"TRACE /version":           {405, []string{"GET"}, "TRACE is not possible here"},
	} {
		t.Run(request, func(t *testing.T) {
			m := known()
			w := ask(newServer(t, m), api.RoleAdmin, request, "")
			p := problem(t, w.Body.Bytes())
			if w.Code != want.status || p.Status != want.status || p.Detail != want.detail || p.Hint == "" {
				t.Errorf("got %d %+v", w.Code, p)
			}
			allow := strings.FieldsFunc(w.Header().Get("Allow"), func(r rune) bool { return r == ',' || r == ' ' })
			if slices.Sort(allow); !slices.Equal(allow, want.allow) {
				t.Errorf("allowed are %v, want %v", allow, want.allow)
			}
			if asked := m.questions(); len(asked) > 0 {
				t.Errorf("the backend was asked %q", asked)
			}
		})
	}
}

// What a server is not made with, it does not pretend to have.
func TestAServerWithoutAPartHasNoRoutesOfIt(t *testing.T) {
	b := known().backend()
	b.Rollouts, b.Care, b.Notifications, b.Standstill = nil, nil, nil, nil
	s := newServerOf(t, b)
	for _, request := range []string{"GET /rollouts", "POST /backup", "GET /notifications/dead", "GET /standstill"} {
		if w := ask(s, api.RoleAdmin, request, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", request, w.Code)
		}
	}
	if w := ask(s, api.RoleAdmin, "GET /agents", ""); w.Code != http.StatusOK {
		t.Errorf("agents: status %d", w.Code)
	}
}

func TestEveryReplyIsNamedAndNotGuessedAt(t *testing.T) {
	s := newServer(t, known())
	seen := map[string]bool{}
	for _, request := range []string{"GET /agents", "GET /agents/none", "GET /nothing", "POST /agents"} {
		h := ask(s, api.RoleViewer, request, "").Header()
		id := h.Get("X-Request-Id")
		if id == "" || seen[id] || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", request, h)
		}
		seen[id] = true
	}
}

// roles are what each of them may do beside its own.
var roles = map[api.Role][]api.Role{
	api.RoleViewer:   {api.RoleViewer, api.RoleOperator, api.RoleAdmin},
	api.RoleOperator: {api.RoleOperator, api.RoleAdmin},
	api.RoleAdmin:    {api.RoleAdmin},
	api.RoleEnroll:   {api.RoleEnroll},
}

// The document says which role an operation needs; anyone who has none that
// includes it is refused before anything else happens.
func TestRolesAreAsTheDocumentSays(t *testing.T) {
	needs := documentedRoles(t)
	for _, role := range []api.Role{"", "wrong", api.RoleViewer, api.RoleOperator, api.RoleAdmin, api.RoleEnroll, api.RoleHost} {
		m := known()
		s := newServer(t, m)
		for _, x := range exchanges {
			need, documented := needs[x.operation]
			if !documented {
				t.Fatalf("%s is not in the document", x.operation)
			}
			w := ask(s, role, x.request, x.body)
			asked := m.questions()
			want := "served"
			switch {
			case x.operation == "changePassword" && slices.Contains(roles[need], role):
				want = "409" // a token has no password
			case need == "" || slices.Contains(roles[need], role):
			case role == "" || role == "wrong":
				want = "401"
			default:
				want = "403"
			}
			got := "served"
			if w.Code/100 != 2 {
				got = fmt.Sprint(w.Code)
			}
			if got != want {
				t.Errorf("%s as %q: %s, want %s (it needs %q)", x.request, role, got, want, need)
			}
			if want != "served" && len(asked) > 0 {
				t.Errorf("%s as %q: refused, but the backend was asked %q", x.request, role, asked)
			}
			if h := w.Header().Get("WWW-Authenticate"); (h != "") != (want == "401") {
				t.Errorf("%s as %q: WWW-Authenticate %q", x.request, role, h)
			}
		}
	}
}

// documentedRoles is what the document says that each operation needs.
func documentedRoles(t *testing.T) map[string]api.Role {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID, Description string
			Security                 []any
		}
	}
	if err := json.Unmarshal(ask(newServer(t, known()), "", "GET /openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	needs := map[string]api.Role{}
	for _, operations := range doc.Paths {
		for _, op := range operations {
			said, _ := strings.CutPrefix(op.Description, "Needs the role ")
			role, _, _ := strings.Cut(said, ".") // what is said of remits follows
			if (role != "") != (len(op.Security) > 0) {
				t.Errorf("%s: role %q with security %v", op.OperationID, role, op.Security)
			}
			needs[op.OperationID] = api.Role(strings.TrimSuffix(role, "."))
		}
	}
	return needs
}

func TestAViewerSeesNoLogins(t *testing.T) {
	m := known()
	const secret, shown = "https://u:p@h.example/c", "https://h.example/c"
	m.agents.byName["a"] = api.Agent{Name: "a", ConfigRemoteURL: secret}
	m.answers["Assignment"] = api.Assignment{Agent: "a", ConfigRemoteURL: secret}
	m.answers["Assignments"] = api.Page[api.Assignment]{Items: []api.Assignment{{Agent: "a", ConfigRemoteURL: secret}}}
	s := newServer(t, m)
	for _, request := range []string{"GET /agents/a", "GET /agents", "GET /agents/a/assignments/everyone", "GET /assignments"} {
		if got := ask(s, api.RoleOperator, request, "").Body.String(); !strings.Contains(got, "u:p@") {
			t.Errorf("%s: an operator is shown %s", request, got)
		}
		if got := ask(s, api.RoleViewer, request, "").Body.String(); strings.Contains(got, "u:p@") || !strings.Contains(got, "h.example") {
			t.Errorf("%s: a viewer is shown %s, want %s", request, got, shown)
		}
	}
	m.questions()
	if ask(s, api.RoleViewer, "GET /fleet", ""); !slices.Equal(m.questions(), []string{"Export true"}) {
		t.Error("a viewer's fleet file is not asked for without logins")
	}
}
