package httpapi

import (
	"context"
	"io"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Backend is what the API needs of the server, noun by noun. Writes record
// themselves in the audit log and are durable and in force on this server
// when they return.
type Backend struct {
	Agents        Nouns[api.Agent]
	Groups        Nouns[api.Group]
	Strategies    Nouns[api.Strategy]
	NotifyTargets Nouns[api.NotifyTarget]
	Schedules     Nouns[api.Schedule]
	Channels      Channels
	Following     Following
	Releases      Releases
	Artifacts     Artifacts
	Assignments   Assignments
	Holds         Holds
	Hosts         Hosts
	Fleet         FleetFile
	Tokens        Tokens
	Users         Users
	Sessions      Sessions
	Logins        Logins
	Keys          Keys
	Rollouts      Rollouts
	Notifications Notifications
	History       History
	Care          Care
	Standstill    Standstill
	Filters       Filters
}

// Nouns keeps one kind of things that have a name and a revision.
type Nouns[T any] interface {
	List(ctx context.Context, search string, c api.Cursor) (api.Page[T], error)
	Get(ctx context.Context, name string) (T, error)
	Put(ctx context.Context, by api.Actor, noun T) (T, error)
	// Change writes what change makes of the one that is there, which has that
	// revision unless it is 0; nobody else writes it meanwhile.
	Change(ctx context.Context, by api.Actor, k api.NounKey, change func(T) (T, error)) (T, error)
	Delete(ctx context.Context, by api.Actor, name string, revision int64) error
}

// Releases keeps versions of agents.
type Releases interface {
	Releases(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Release], error)
	Release(ctx context.Context, k api.ReleaseKey) (api.Release, error)
	PutReleaseNotes(ctx context.Context, by api.Actor, k api.ReleaseKey, notes string) (api.Release, error)
	DeleteRelease(ctx context.Context, by api.Actor, k api.ReleaseKey) error
}

// Artifacts takes in tarballs.
type Artifacts interface {
	Upload(ctx context.Context, by api.Actor, u api.Upload) (api.Artifact, error)
	Register(ctx context.Context, by api.Actor, k api.ReleaseKey, n api.NewArtifact) (api.Artifact, error)
	Sign(ctx context.Context, by api.Actor, k api.ReleaseKey, minisig string) (api.Artifact, error)
	Prune(ctx context.Context, by api.Actor, olderThanDays int, dryRun bool) (api.Pruned, error)
}

// Assignments keeps which scope runs which version.
type Assignments interface {
	Assignments(ctx context.Context, agent string, scope api.Scope, c api.Cursor) (api.Page[api.Assignment], error)
	Assignment(ctx context.Context, agent string, scope api.Scope) (api.Assignment, error)
	PutAssignment(ctx context.Context, by api.Actor, a api.Assignment, o api.AssignOptions) (api.Assignment, error)
	ChangeAssignment(ctx context.Context, by api.Actor, k api.Assignment, change func(api.Assignment) (api.Assignment, error)) (api.Assignment, error)
	DeleteAssignment(ctx context.Context, by api.Actor, a api.Assignment) error // Agent, Scope and Revision count
	Impact(ctx context.Context, a api.Assignment) (api.Impact, error)
}

// Channels keeps which version each channel of an agent points at.
type Channels interface {
	Channels(ctx context.Context, agent string, c api.Cursor) (api.Page[api.Channel], error)
	Channel(ctx context.Context, agent, name string) (api.Channel, error)
	PutChannel(ctx context.Context, by api.Actor, ch api.Channel, downgrade bool) (api.Channel, error)
	DeleteChannel(ctx context.Context, by api.Actor, ch api.Channel) error // Agent, Name and Revision count
}

// Following says what schedules do.
type Following interface {
	ScheduleStates(ctx context.Context, schedule string) ([]api.ScheduleState, error)
	SchedulePlan(ctx context.Context, q api.PlanQuery) ([]api.SchedulePlan, error)
	SchedulePlanHosts(ctx context.Context, q api.PlanQuery, c api.Cursor) (api.Page[api.PlanHost], error) // of one agent
}

// Holds keeps what is held.
type Holds interface {
	Holds(ctx context.Context, scope api.Scope, c api.Cursor) (api.Page[api.Hold], error)
	CreateHold(ctx context.Context, by api.Actor, h api.Hold) (api.Hold, error)
	DeleteHold(ctx context.Context, by api.Actor, id string) error
}

// Hosts knows what hosts report.
type Hosts interface {
	Overview(ctx context.Context) (api.Overview, error)
	Hosts(ctx context.Context, q api.HostQuery) (api.Page[api.Host], error)
	Host(ctx context.Context, name string) (api.Host, error)
	Match(ctx context.Context, s api.Selector, c api.Cursor) (api.Page[api.Host], error)
	Explain(ctx context.Context, name string) (api.Explanation, error)
	DeleteHost(ctx context.Context, by api.Actor, name string) error
}

// FleetFile reads and writes everything at once.
type FleetFile interface {
	Export(ctx context.Context, forViewers bool) ([]byte, error) // for them without logins
	Apply(ctx context.Context, by api.Actor, file []byte, o api.ApplyOptions) (api.Plan, error)
	Import(ctx context.Context, by api.Actor, file []byte, o api.ImportOptions) (api.ImportReport, error)
}

// Tokens keeps credentials. The Secret of one is in what makes it, and
// nowhere else.
type Tokens interface {
	Tokens(ctx context.Context, c api.Cursor) (api.Page[api.Token], error)
	Credentials(ctx context.Context, c api.Cursor) (api.Page[api.Token], error) // of hosts
	CreateToken(ctx context.Context, by api.Actor, t api.Token) (api.Token, error)
	DeleteToken(ctx context.Context, by api.Actor, id string) error
	Enroll(ctx context.Context, by api.Actor, host string) (api.Token, error)
}

// Users keeps people who log in with a password. What it returns never has one.
type Users interface {
	Users(ctx context.Context, search string, c api.Cursor) (api.Page[api.User], error)
	User(ctx context.Context, name string) (api.User, error)
	PutUser(ctx context.Context, by api.Actor, u api.User) (api.User, error)
	DeleteUser(ctx context.Context, by api.Actor, name string, revision int64) error
}

// Sessions keeps who is logged in.
type Sessions interface {
	// LogIn is NotFound when the name or the password is wrong.
	LogIn(ctx context.Context, from string, l api.Login) (api.Session, error)
	// ChangePassword is NotFound when the current one is wrong. Sessions but the
	// named one end.
	ChangePassword(ctx context.Context, by api.Actor, session string, p api.NewPassword) error
	Sessions(ctx context.Context, name string, c api.Cursor) (api.Page[api.Session], error) // of one person, or everyone's
	EndSession(ctx context.Context, by api.Actor, id, of string) error                      // of one person, or anybody's
}

// Logins lets in the people of a login provider: NotFound where there is none, but
// for the question which there is.
type Logins interface {
	LoginProvider() api.LoginProvider
	BeginLogin(ctx context.Context, b api.BeginLogin) (api.BegunLogin, error)
	FinishLogin(ctx context.Context, from string, f api.FinishLogin) (api.FinishedLogin, error)
	RedeemLogin(ctx context.Context, from string, r api.RedeemLogin) (api.Session, error)
}

// Keys is whom hosts can believe.
type Keys interface {
	Keys(ctx context.Context) (api.KeyReport, error)
	MakeServerKey(ctx context.Context, by api.Actor) (api.OwnKey, error)
	RotateServerKey(ctx context.Context, by api.Actor) error
	PublishKeyList(ctx context.Context, by api.Actor, p api.PublishKeyList) error
	DeleteKey(ctx context.Context, by api.Actor, id string) error
}

// Rollouts is the engine.
type Rollouts interface {
	Rollouts(ctx context.Context, f api.RolloutFilter, c api.Cursor) (api.Page[api.Rollout], error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	CreateRollout(ctx context.Context, by api.Actor, n api.NewRollout) (api.Rollout, error)
	TryRollout(ctx context.Context, by api.Actor, n api.NewRollout) (api.Rollout, error) // CreateRollout without the writing
	ActOnRollout(ctx context.Context, by api.Actor, id, action string, a api.RolloutAction) (api.Rollout, error)
	Transitions(ctx context.Context, id string, c api.Cursor) (api.Page[api.Transition], error)
	RolloutHosts(ctx context.Context, id string, state api.RolloutHostState, c api.Cursor) (api.Page[api.RolloutHost], error)
	Grants(ctx context.Context, f api.GrantFilter, c api.Cursor) (api.Page[api.Grant], error)
}

// Notifications knows what could not be delivered.
type Notifications interface {
	DeadLetters(ctx context.Context, c api.Cursor) (api.Page[api.Notification], error)
	RetryDeadLetter(ctx context.Context, by api.Actor, id int64) error
	DropDeadLetter(ctx context.Context, by api.Actor, id int64) error
	TestTarget(ctx context.Context, by api.Actor, name string) error
}

// History is what happened: to hosts, and by whose hand.
type History interface {
	Events(ctx context.Context, f api.EventFilter, c api.Cursor) (api.Page[api.Event], error)
	Audit(ctx context.Context, f api.AuditFilter, c api.Cursor) (api.Page[api.AuditEntry], error)
	Samples(ctx context.Context, agent string, since time.Time) ([]api.Sample, error)
}

// Standstill is for when the database went back to an earlier moment.
type Standstill interface {
	Standstill(ctx context.Context) (api.StandstillReport, error)
	EndStandstill(ctx context.Context, by api.Actor, e api.EndStandstill) error
}

// Care is for those who run the server.
type Care interface {
	Doctor(ctx context.Context) []api.Check
	Backup(ctx context.Context, by api.Actor, w io.Writer) error
}
