package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

// memory is a backend that keeps named nouns, notes what it is asked and
// answers with what a test gives it.
type memory struct {
	agents     nouns[api.Agent]
	groups     nouns[api.Group]
	strategies nouns[api.Strategy]
	targets    nouns[api.NotifyTarget]
	schedules  nouns[api.Schedule]

	mu      sync.Mutex
	asked   []string       // each question as text, see answer
	answers map[string]any // by the name of the method; without one: the zero value
	fail    error          // of whatever is asked
	full    bool           // answers have something in every field
	unknown error          // of Filters.Unknown
	nearest string         // of Filters.Nearest
}

func newMemory() *memory {
	m := &memory{answers: map[string]any{}}
	m.agents = nouns[api.Agent]{m, "Agent", map[string]api.Agent{}, func(a *api.Agent) (*string, *int64) { return &a.Name, &a.Revision }}
	m.groups = nouns[api.Group]{m, "Group", map[string]api.Group{}, func(g *api.Group) (*string, *int64) { return &g.Name, &g.Revision }}
	m.strategies = nouns[api.Strategy]{m, "Strategy", map[string]api.Strategy{}, func(s *api.Strategy) (*string, *int64) { return &s.Name, &s.Revision }}
	m.targets = nouns[api.NotifyTarget]{m, "NotifyTarget", map[string]api.NotifyTarget{}, func(n *api.NotifyTarget) (*string, *int64) { return &n.Name, &n.Revision }}
	m.schedules = nouns[api.Schedule]{m, "Schedule", map[string]api.Schedule{}, func(s *api.Schedule) (*string, *int64) { return &s.Name, &s.Revision }}
	return m
}

func (m *memory) backend() httpapi.Backend {
	return httpapi.Backend{
		Agents: m.agents, Groups: m.groups, Strategies: m.strategies, NotifyTargets: m.targets, Schedules: m.schedules, Channels: m, Following: m,
		Releases: m, Artifacts: m, Assignments: m, Holds: m, Hosts: m, Fleet: m, Tokens: tokens{m}, Users: users{m}, Sessions: sessions{m}, Logins: m, Rollouts: m,
		Notifications: m, History: m, Care: m, Standstill: m, Filters: filters{m},
	}
}

// questions are what was asked since the last time.
func (m *memory) questions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

func (m *memory) note(question string, about ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range about {
		question += fmt.Sprintf(" %+v", a)
	}
	m.asked = append(m.asked, question)
	return m.fail
}

func answer[T any](m *memory, method string, about ...any) (T, error) {
	err := m.note(method, about...)
	m.mu.Lock()
	defer m.mu.Unlock()
	given, _ := m.answers[method].(T)
	if m.full {
		fill(reflect.ValueOf(&given).Elem())
	}
	return given, err
}

// fill puts something into every field of v.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_000_000_000, 0).UTC()))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"x":1}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), item)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	}
}

// nouns keeps one kind of them, each write at the next revision.
type nouns[T any] struct {
	*memory
	kind   string
	byName map[string]T
	parts  func(*T) (name *string, revision *int64)
}

func (n nouns[T]) List(_ context.Context, search string, c api.Cursor) (api.Page[T], error) {
	var page api.Page[T]
	for _, name := range slices.Sorted(maps.Keys(n.byName)) {
		if name <= c.After || !strings.Contains(name, search) {
			continue
		}
		if len(page.Items) == c.Limit {
			last, _ := n.parts(&page.Items[c.Limit-1])
			page.Next = *last
			break
		}
		page.Items = append(page.Items, n.byName[name])
	}
	return page, n.note("list"+n.kind, search, c)
}

func (n nouns[T]) Get(_ context.Context, name string) (T, error) {
	noun, there := n.byName[name]
	err := n.note("get"+n.kind, name)
	if !there && err == nil {
		err = &api.Error{Kind: api.KindNotFound, Message: "there is no " + n.kind + " " + name, Noun: n.kind, Name: name}
	}
	return noun, err
}

// guard checks what a write asks of the revision that is there.
func (n nouns[T]) guard(name string, revision int64) error {
	noun, there := n.byName[name]
	_, current := n.parts(&noun)
	switch {
	case revision == api.MustNotExist && there:
		return api.Errorf(api.KindExists, "%s %s is there already", n.kind, name)
	case revision > 0 && revision != *current:
		return api.Errorf(api.KindConflict, "%s %s is at revision %d", n.kind, name, *current)
	}
	return nil
}

func (n nouns[T]) Put(_ context.Context, by api.Actor, noun T) (T, error) {
	name, revision := n.parts(&noun)
	if err := n.note("put"+n.kind, by, *name, *revision); err != nil {
		return noun, err
	}
	if err := n.guard(*name, *revision); err != nil {
		return noun, err
	}
	before := n.byName[*name]
	_, last := n.parts(&before)
	*revision = *last + 1
	n.byName[*name] = noun
	return noun, nil
}

func (n nouns[T]) Change(ctx context.Context, by api.Actor, k api.NounKey, change func(T) (T, error)) (T, error) {
	noun, err := n.Get(ctx, k.Name)
	if err != nil {
		return noun, err
	}
	if err := n.guard(k.Name, k.Revision); err != nil {
		return noun, err
	}
	if noun, err = change(noun); err != nil {
		return noun, err
	}
	return n.Put(ctx, by, noun)
}

func (n nouns[T]) Delete(_ context.Context, by api.Actor, name string, revision int64) error {
	if err := n.note("delete"+n.kind, by, name, revision); err != nil {
		return err
	}
	if err := n.guard(name, revision); err != nil {
		return err
	}
	delete(n.byName, name)
	return nil
}

func (m *memory) Releases(_ context.Context, agent string, c api.Cursor) (api.Page[api.Release], error) {
	return answer[api.Page[api.Release]](m, "Releases", agent, c)
}

func (m *memory) Release(_ context.Context, k api.ReleaseKey) (api.Release, error) {
	return answer[api.Release](m, "Release", k)
}

func (m *memory) PutReleaseNotes(_ context.Context, by api.Actor, k api.ReleaseKey, notes string) (api.Release, error) {
	return answer[api.Release](m, "PutReleaseNotes", by, k, notes)
}

func (m *memory) DeleteRelease(_ context.Context, by api.Actor, k api.ReleaseKey) error {
	return m.note("DeleteRelease", by, k)
}

func (m *memory) Upload(_ context.Context, by api.Actor, u api.Upload) (api.Artifact, error) {
	data, err := io.ReadAll(u.Tarball)
	if err != nil {
		return api.Artifact{}, err
	}
	return answer[api.Artifact](m, "Upload", by, u.Agent, u.Version, u.Arch, u.Size, u.SHA256, string(data))
}

func (m *memory) Register(_ context.Context, by api.Actor, k api.ReleaseKey, n api.NewArtifact) (api.Artifact, error) {
	return answer[api.Artifact](m, "Register", by, k, n.External)
}

func (m *memory) Sign(_ context.Context, by api.Actor, k api.ReleaseKey, minisig string) (api.Artifact, error) {
	return answer[api.Artifact](m, "Sign", by, k, minisig)
}

func (m *memory) Prune(_ context.Context, by api.Actor, olderThanDays int, dryRun bool) (api.Pruned, error) {
	return answer[api.Pruned](m, "Prune", by, olderThanDays, dryRun)
}

func (m *memory) Assignments(_ context.Context, agent string, scope api.Scope, c api.Cursor) (api.Page[api.Assignment], error) {
	return answer[api.Page[api.Assignment]](m, "Assignments", agent, scope, c)
}

func (m *memory) Assignment(_ context.Context, agent string, scope api.Scope) (api.Assignment, error) {
	return answer[api.Assignment](m, "Assignment", agent, scope)
}

func (m *memory) PutAssignment(_ context.Context, by api.Actor, a api.Assignment, o api.AssignOptions) (api.Assignment, error) {
	return answer[api.Assignment](m, "PutAssignment", by, a.Agent, a.Scope, a.Version, a.Revision, o)
}

func (m *memory) ChangeAssignment(_ context.Context, by api.Actor, k api.Assignment, change func(api.Assignment) (api.Assignment, error)) (api.Assignment, error) {
	before, err := answer[api.Assignment](m, "ChangeAssignment", by, k.Agent, k.Scope, k.Revision)
	if err != nil {
		return before, err
	}
	return change(before)
}

func (m *memory) DeleteAssignment(_ context.Context, by api.Actor, a api.Assignment) error {
	return m.note("DeleteAssignment", by, a.Agent, a.Scope, a.Revision)
}

func (m *memory) Impact(_ context.Context, a api.Assignment) (api.Impact, error) {
	return answer[api.Impact](m, "Impact", a.Agent, a.Scope, a.Version)
}

func (m *memory) Channels(_ context.Context, agent string, c api.Cursor) (api.Page[api.Channel], error) {
	return answer[api.Page[api.Channel]](m, "Channels", agent, c)
}

func (m *memory) Channel(_ context.Context, agent, name string) (api.Channel, error) {
	return answer[api.Channel](m, "Channel", agent, name)
}

func (m *memory) PutChannel(_ context.Context, by api.Actor, c api.Channel, downgrade bool) (api.Channel, error) {
	return answer[api.Channel](m, "PutChannel", by, c.Agent, c.Name, c.Version, c.Revision, downgrade)
}

func (m *memory) DeleteChannel(_ context.Context, by api.Actor, c api.Channel) error {
	return m.note("DeleteChannel", by, c.Agent, c.Name, c.Revision)
}

func (m *memory) ScheduleStates(_ context.Context, name string) ([]api.ScheduleState, error) {
	return answer[[]api.ScheduleState](m, "ScheduleStates", name)
}

func (m *memory) SchedulePlan(_ context.Context, q api.PlanQuery) ([]api.SchedulePlan, error) {
	return answer[[]api.SchedulePlan](m, "SchedulePlan", q.Schedule, q.Agent, q.Version, q.From.Unix(), q.Takes)
}

func (m *memory) SchedulePlanHosts(_ context.Context, q api.PlanQuery, c api.Cursor) (api.Page[api.PlanHost], error) {
	return answer[api.Page[api.PlanHost]](m, "SchedulePlanHosts", q.Schedule, q.Agent, c)
}

func (m *memory) Holds(_ context.Context, scope api.Scope, c api.Cursor) (api.Page[api.Hold], error) {
	return answer[api.Page[api.Hold]](m, "Holds", scope, c)
}

func (m *memory) CreateHold(_ context.Context, by api.Actor, h api.Hold) (api.Hold, error) {
	return answer[api.Hold](m, "CreateHold", by, h.Scope)
}

func (m *memory) DeleteHold(_ context.Context, by api.Actor, id string) error {
	return m.note("DeleteHold", by, id)
}

func (m *memory) Overview(context.Context) (api.Overview, error) {
	return answer[api.Overview](m, "Overview")
}

func (m *memory) Hosts(_ context.Context, q api.HostQuery) (api.Page[api.Host], error) {
	return answer[api.Page[api.Host]](m, "Hosts", q)
}

func (m *memory) Host(_ context.Context, name string) (api.Host, error) {
	return answer[api.Host](m, "Host", name)
}

func (m *memory) Match(_ context.Context, s api.Selector, c api.Cursor) (api.Page[api.Host], error) {
	return answer[api.Page[api.Host]](m, "Match", s.Hosts, c)
}

func (m *memory) Explain(_ context.Context, name string) (api.Explanation, error) {
	return answer[api.Explanation](m, "Explain", name)
}

func (m *memory) DeleteHost(_ context.Context, by api.Actor, name string) error {
	return m.note("DeleteHost", by, name)
}

func (m *memory) Export(_ context.Context, forViewers bool) ([]byte, error) {
	return answer[[]byte](m, "Export", forViewers)
}

func (m *memory) Apply(_ context.Context, by api.Actor, file []byte, o api.ApplyOptions) (api.Plan, error) {
	return answer[api.Plan](m, "Apply", by, string(file), o)
}

func (m *memory) Import(_ context.Context, by api.Actor, file []byte, o api.ImportOptions) (api.ImportReport, error) {
	return answer[api.ImportReport](m, "Import", by, string(file), o.DryRun, o.Partial)
}

func (m *memory) Rollouts(_ context.Context, f api.RolloutFilter, c api.Cursor) (api.Page[api.Rollout], error) {
	return answer[api.Page[api.Rollout]](m, "Rollouts", f, c)
}

func (m *memory) Rollout(_ context.Context, id string) (api.Rollout, error) {
	return answer[api.Rollout](m, "Rollout", id)
}

func (m *memory) CreateRollout(_ context.Context, by api.Actor, n api.NewRollout) (api.Rollout, error) {
	return answer[api.Rollout](m, "CreateRollout", by, n.Agent, n.Version)
}

func (m *memory) TryRollout(_ context.Context, by api.Actor, n api.NewRollout) (api.Rollout, error) {
	return answer[api.Rollout](m, "TryRollout", by, n.Agent, n.Version)
}

func (m *memory) ActOnRollout(_ context.Context, by api.Actor, id, action string, a api.RolloutAction) (api.Rollout, error) {
	return answer[api.Rollout](m, "ActOnRollout", by, id, action, a.Reason)
}

func (m *memory) Transitions(_ context.Context, id string, c api.Cursor) (api.Page[api.Transition], error) {
	return answer[api.Page[api.Transition]](m, "Transitions", id, c)
}

func (m *memory) RolloutHosts(_ context.Context, id string, state api.RolloutHostState, c api.Cursor) (api.Page[api.RolloutHost], error) {
	return answer[api.Page[api.RolloutHost]](m, "RolloutHosts", id, state, c)
}

func (m *memory) Grants(_ context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error) {
	return answer[api.Page[api.Grant]](m, "Grants", f.Rollout, f.Open, f.Outcome, c)
}

func (m *memory) DeadLetters(_ context.Context, c api.Cursor) (api.Page[api.Notification], error) {
	return answer[api.Page[api.Notification]](m, "DeadLetters", c)
}

func (m *memory) RetryDeadLetter(_ context.Context, by api.Actor, id int64) error {
	return m.note("RetryDeadLetter", by, id)
}

func (m *memory) DropDeadLetter(_ context.Context, by api.Actor, id int64) error {
	return m.note("DropDeadLetter", by, id)
}

func (m *memory) TestTarget(_ context.Context, by api.Actor, name string) error {
	return m.note("TestTarget", by, name)
}

func (m *memory) Events(_ context.Context, f api.EventFilter, c api.Cursor) (api.Page[api.Event], error) {
	return answer[api.Page[api.Event]](m, "Events", f.Host, f.Agent, f.Kind, f.Since.Unix(), c)
}

func (m *memory) Audit(_ context.Context, f api.AuditFilter, c api.Cursor) (api.Page[api.AuditEntry], error) {
	return answer[api.Page[api.AuditEntry]](m, "Audit", f.Actor, f.Action, f.Kind, f.Name, c)
}

func (m *memory) Samples(_ context.Context, agent string, _ time.Time) ([]api.Sample, error) {
	return answer[[]api.Sample](m, "Samples", agent)
}

func (m *memory) Standstill(context.Context) (api.StandstillReport, error) {
	return answer[api.StandstillReport](m, "Standstill")
}

func (m *memory) EndStandstill(_ context.Context, by api.Actor, _ api.EndStandstill) error {
	return m.note("EndStandstill", by)
}

func (m *memory) Doctor(context.Context) []api.Check {
	found, _ := answer[[]api.Check](m, "Doctor")
	return found
}

// Backup writes what it is given.
func (m *memory) Backup(_ context.Context, by api.Actor, w io.Writer) error {
	data, err := answer[[]byte](m, "Backup", by)
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// tokens is the memory's part of that name.
type tokens struct{ *memory }

func (t tokens) Tokens(_ context.Context, c api.Cursor) (api.Page[api.Token], error) {
	return answer[api.Page[api.Token]](t.memory, "Tokens", c)
}

func (t tokens) Credentials(_ context.Context, c api.Cursor) (api.Page[api.Token], error) {
	return answer[api.Page[api.Token]](t.memory, "Credentials", c)
}

func (t tokens) CreateToken(_ context.Context, by api.Actor, n api.Token) (api.Token, error) {
	return answer[api.Token](t.memory, "CreateToken", by, n.Name, n.Role, n.ExpiresAt != nil)
}

func (t tokens) DeleteToken(_ context.Context, by api.Actor, id string) error {
	return t.note("DeleteToken", by, id)
}

func (t tokens) Enroll(_ context.Context, by api.Actor, host string) (api.Token, error) {
	return answer[api.Token](t.memory, "Enroll", by, host)
}

// users is the memory's part of that name.
type users struct{ *memory }

func (u users) Users(_ context.Context, search string, c api.Cursor) (api.Page[api.User], error) {
	return answer[api.Page[api.User]](u.memory, "Users", search, c)
}

func (u users) User(_ context.Context, name string) (api.User, error) {
	return answer[api.User](u.memory, "User", name)
}

func (u users) PutUser(_ context.Context, by api.Actor, n api.User) (api.User, error) {
	return answer[api.User](u.memory, "PutUser", by, n.Name, n.Role, n.Password, n.Revision)
}

func (u users) DeleteUser(_ context.Context, by api.Actor, name string, revision int64) error {
	return u.note("DeleteUser", by, name, revision)
}

// sessions is the memory's part of that name.
type sessions struct{ *memory }

func (s sessions) LogIn(_ context.Context, from string, l api.Login) (api.Session, error) {
	return answer[api.Session](s.memory, "LogIn", from, l)
}

func (s sessions) ChangePassword(_ context.Context, by api.Actor, session string, p api.NewPassword) error {
	return s.note("ChangePassword", by, session, p)
}

func (s sessions) Sessions(_ context.Context, name string, c api.Cursor) (api.Page[api.Session], error) {
	return answer[api.Page[api.Session]](s.memory, "Sessions", name, c)
}

func (s sessions) EndSession(_ context.Context, by api.Actor, id, of string) error {
	return s.note("EndSession", by, id, of)
}

func (m *memory) LoginProvider() api.LoginProvider { return api.LoginProvider{Name: "n"} } // a setting: nothing is asked

func (m *memory) BeginLogin(_ context.Context, b api.BeginLogin) (api.BegunLogin, error) {
	return answer[api.BegunLogin](m, "BeginLogin", b.Next)
}

func (m *memory) FinishLogin(_ context.Context, from string, f api.FinishLogin) (api.FinishedLogin, error) {
	return answer[api.FinishedLogin](m, "FinishLogin", from, f)
}

func (m *memory) RedeemLogin(_ context.Context, from string, r api.RedeemLogin) (api.Session, error) {
	return answer[api.Session](m, "RedeemLogin", from, r)
}

// filters is the memory's part of that name.
type filters struct{ *memory }

func (f filters) Unknown(context.Context, api.FilterNames) error { return f.unknown }

func (f filters) Nearest(string, string) string { return f.nearest }

// asPerson is a caller who has logged in.
const asPerson = "os_ann"

func (badge) AuthenticateSession(_ context.Context, secret string) (api.Session, error) {
	if secret != asPerson {
		return api.Session{}, api.Errorf(api.KindNotFound, "there is no such session")
	}
	return api.Session{ID: "s-ann", Name: "ann", Role: api.RoleAdmin, ExpiresAt: time.Now().Add(time.Hour)}, nil
}

// badge lets in callers that show the name of a role as token.
type badge struct{}

func (badge) Authenticate(_ context.Context, secret string) (api.Token, error) {
	switch role := api.Role(secret); role {
	case api.RoleViewer, api.RoleOperator, api.RoleAdmin, api.RoleEnroll, api.RoleHost:
		return api.Token{ID: "id-" + secret, Name: "ann", Role: role, Host: "h"}, nil
	}
	return api.Token{}, api.Errorf(api.KindNotFound, "there is no such token")
}

func (badge) FirstUse(context.Context, string, time.Time) error { return nil }

func newServer(t *testing.T, m *memory) *httpapi.Server {
	t.Helper()
	return newServerOf(t, m.backend())
}

func newServerOf(t *testing.T, b httpapi.Backend) *httpapi.Server {
	t.Helper()
	return newServerWith(t, b, httpapi.AccessConfig{Tokens: badge{}, FailuresPerMin: 1_000_000})
}

func newServerWith(t *testing.T, b httpapi.Backend, a httpapi.AccessConfig) *httpapi.Server {
	t.Helper()
	feed := &httpapi.Feed{}
	feed.Close() // a stream ends at once
	s, err := httpapi.New(httpapi.Config{Access: httpapi.NewAccess(a), Feed: feed, Backend: b, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask makes a request, "GET /agents?limit=3", as a caller with the role.
func ask(s http.Handler, role api.Role, request, body string, headers ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+string(role))
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// problem reads one.
func problem(t *testing.T, body []byte) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("no problem: %v\n%s", err, body)
	}
	return p
}
