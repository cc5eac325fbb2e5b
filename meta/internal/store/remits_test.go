package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// TestRemitsAreHeldAgainstEveryWrite of whoever has them: what they do not cover
// is refused, whatever kind of thing it is, and nothing of the transaction stays.
func TestRemitsAreHeldAgainstEveryWrite(t *testing.T) {
	onGroup := api.Scope{Kind: api.ScopeGroup, Name: "canary"}
	onOther := api.Scope{Kind: api.ScopeGroup, Name: "prod"}
	member, stranger := api.Scope{Kind: api.ScopeHost, Name: "c-1"}, api.Scope{Kind: api.ScopeHost, Name: "p-1"}
	everyone := api.Scope{Kind: api.ScopeEveryone}

	assign := func(agent string, scope api.Scope) func(context.Context, *store.Tx) error {
		return func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAssignment(ctx, api.Assignment{Agent: agent, Version: "1.1", Scope: scope})
			return err
		}
	}
	hold := func(scope api.Scope) func(context.Context, *store.Tx) error {
		return func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.CreateHold(ctx, api.Hold{Scope: scope, Reason: "why not"})
			return err
		}
	}
	schedule := func(agents []string, scope api.Scope) func(context.Context, *store.Tx) error {
		return func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutSchedule(ctx, api.Schedule{Name: "s", Channel: "stable", Agents: agents, Scope: scope})
			return err
		}
	}
	rollout := func(agent string, scope api.Scope) func(context.Context, *store.Tx) error {
		return func(ctx context.Context, tx *store.Tx) error {
			s := api.Strategy{Name: "one", Stages: []api.Stage{{Percent: 100}}}
			_, err := tx.CreateRollout(ctx, api.Rollout{Agent: agent, Version: "1.1", Scope: scope, Strategy: s, State: api.RolloutRunning}, api.Transition{})
			return err
		}
	}
	for name, c := range map[string]struct {
		remits string // with spaces between
		do     func(context.Context, *store.Tx) error
		needs  string // what the refusal asks for; empty: it is allowed, "nobody": no remit will do
	}{
		"an agent to its group":             {"web@canary", assign("web", onGroup), ""},
		"by a pattern":                      {"w*@canary", assign("web", onGroup), ""},
		"by one of several":                 {"other@* web@canary", assign("web", onGroup), ""},
		"by agents of one and group of one": {"web@prod other@canary", assign("web", onGroup), "agent web on group canary"},
		"another agent":                     {"we@canary", assign("web", onGroup), "agent web on group canary"},
		"another group":                     {"web@canary", assign("web", onOther), "agent web on group prod"},
		"every host":                        {"web@canary", assign("web", everyone), "agent web on everyone"},
		"every host by a remit for all":     {"web@*", assign("web", everyone), ""},
		"a host of the group":               {"web@canary", assign("web", member), ""},
		"a host of another":                 {"web@canary", assign("web", stranger), "agent web on host p-1"},
		"any host by a remit for all":       {"*@*", assign("web", stranger), ""},
		"a rollout":                         {"web@canary", rollout("web", onGroup), ""},
		"a rollout to another group":        {"web@canary", rollout("web", onOther), "agent web on group prod"},

		"a hold of a group":            {"*@canary", hold(onGroup), ""},
		"of a group, with one agent":   {"web@canary", hold(onGroup), "every agent on group canary"},
		"a hold of a host":             {"*@canary", hold(member), ""},
		"a hold of an agent":           {"web@*", hold(api.Scope{Kind: api.ScopeAgent, Name: "web"}), ""},
		"of an agent, with one group":  {"web@canary", hold(api.Scope{Kind: api.ScopeAgent, Name: "web"}), "agent web on everyone"},
		"a schedule of agents":         {"web@canary", schedule([]string{"web"}, onGroup), ""},
		"of agents, one of which not":  {"web@canary", schedule([]string{"web", "other"}, onGroup), "agent other on group canary"},
		"a schedule of whatever agent": {"web@canary", schedule(nil, onGroup), "every agent on group canary"},
		"a schedule for everyone":      {"web@canary", schedule([]string{"web"}, api.Scope{}), "agent web on everyone"},

		"an agent": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAgent(ctx, api.Agent{Name: "web", Keep: 7})
			return err
		}, "agent web on everyone"},
		"an agent by a remit for all": {"web@*", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAgent(ctx, api.Agent{Name: "web", Keep: 7})
			return err
		}, ""},
		"agents of a file": {"web@*", func(ctx context.Context, tx *store.Tx) error {
			return tx.PutAgents(ctx, []api.Agent{{Name: "web", Keep: 7}, {Name: "other", Keep: 7}})
		}, "agent other on everyone"},
		"a release": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutRelease(ctx, api.Release{Agent: "web", Version: "2.0"})
			return err
		}, "agent web on everyone"},
		"an artifact": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			a := artifact("1.0")
			a.Signature = "x"
			_, err := tx.PutArtifact(ctx, a)
			return err
		}, "agent web on everyone"},
		"a channel": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutChannel(ctx, api.Channel{Agent: "web", Name: "stable", Version: "1.1"})
			return err
		}, "agent web on everyone"},
		"a removed assignment": {"web@prod", func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteAssignment(ctx, "web", onGroup, 0)
		}, "agent web on group canary"},
		"a group": {"*@*", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutGroup(ctx, api.Group{Name: "canary", Selector: api.Selector{Prefixes: []string{""}}})
			return err
		}, "nobody"},
		"a strategy": {"*@*", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutStrategy(ctx, api.Strategy{Name: "s", Stages: []api.Stage{{Percent: 100}}})
			return err
		}, "nobody"},
		"a token": {"*@*", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.CreateToken(ctx, api.Token{Name: "t", Role: api.RoleAdmin})
			return err
		}, "nobody"},
		"whatever has no name of a kind": {"*@*", func(_ context.Context, tx *store.Tx) error {
			return tx.Record("backup", "server", "data", nil, nil)
		}, "nobody"},
		"another's password": {"*@*", func(ctx context.Context, tx *store.Tx) error {
			bob, err := tx.User(ctx, "bob")
			if err != nil {
				return err
			}
			bob.Hash = "h"
			return tx.SetPassword(ctx, bob, "")
		}, "nobody"},
		"their own password": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			anna, err := tx.User(ctx, "anna")
			if err != nil {
				return err
			}
			anna.Hash = "h"
			return tx.SetPassword(ctx, anna, "")
		}, ""},
		"their own remits": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			anna, err := tx.User(ctx, "anna")
			if err != nil {
				return err
			}
			anna.Remits = nil
			_, err = tx.PutUser(ctx, anna)
			return err
		}, "nobody"},
		"nothing that differs": {"other@canary", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.PutAgent(ctx, api.Agent{Name: "web"})
			return err
		}, ""},
		"what is allowed, and then what is not": {"web@canary", func(ctx context.Context, tx *store.Tx) error {
			if err := assign("web", member)(ctx, tx); err != nil {
				return err
			}
			return assign("web", onOther)(ctx, tx)
		}, "agent web on group prod"},
		"what is no remit": {"* web@ @canary web@c*", assign("web", onGroup), "agent web on group canary"},
	} {
		t.Run(name, func(t *testing.T) {
			d := database{name: "sqlite", cfg: store.Config{Dir: t.TempDir()}}
			s := d.open(t)
			s.JudgeMembers(func(host, group string) bool { return strings.HasPrefix(host, group[:1]+"-") })
			seed(t, s)
			write(t, s, func(ctx context.Context, tx *store.Tx) error {
				for _, name := range []string{"canary", "prod"} {
					if _, err := tx.PutGroup(ctx, api.Group{Name: name, Selector: api.Selector{Prefixes: []string{name[:1]}}}); err != nil {
						return err
					}
				}
				if _, err := tx.PutAgent(ctx, api.Agent{Name: "other"}); err != nil {
					return err
				}
				for _, name := range []string{"anna", "bob"} {
					if _, err := tx.PutUser(ctx, store.KeptUser{User: api.User{Name: name, Role: api.RoleOperator, Remits: api.Remits{"web@canary"}}}); err != nil {
						return err
					}
				}
				_, err := tx.PutAssignment(ctx, api.Assignment{Agent: "web", Version: "1.0", Scope: onGroup})
				return err
			})
			before := must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{}))(t).Items
			anna := api.Actor{Name: "anna", Remits: api.RemitsOf(strings.Fields(c.remits))}
			_, err := s.Write(t.Context(), anna, func(tx *store.Tx) error { return c.do(t.Context(), tx) })
			after := must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{}))(t).Items
			if c.needs == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			says := "that takes a remit for " + c.needs + ", and anna has " + anna.Remits.String()
			if c.needs == "nobody" {
				says = "that is for operators without remits, and anna has " + anna.Remits.String()
			}
			if api.KindOf(err) != api.KindOutsideRemit || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want it refused with %q", err, says)
			}
			if len(after) != len(before) {
				t.Errorf("a write that was refused left %+v", after[0])
			}
		})
	}
}

// Until somebody says who is in which group, no host is.
func TestNoHostIsAMemberBeforeMembersAreKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		for _, remit := range []api.Remit{"web@canary", "web@*"} {
			allowed := remit == "web@*"
			_, err := s.Write(t.Context(), api.Actor{Name: "anna", Remits: api.Remits{remit}}, func(tx *store.Tx) error {
				_, err := tx.PutAssignment(t.Context(), api.Assignment{Agent: "web", Version: "1.1", Scope: api.Scope{Kind: api.ScopeHost, Name: "c-1"}})
				return err
			})
			if (err == nil) != allowed {
				t.Errorf("%s: %v", remit, err)
			}
		}
	})
}

// TestASessionKeepsTheRemitsOfItsLogin, and ends with another word on them.
func TestASessionKeepsTheRemitsOfItsLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		remits := api.Remits{"web@canary"}
		var anna store.KeptUser
		write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
			anna, err = tx.PutUser(ctx, store.KeptUser{User: api.User{Name: "anna", Role: api.RoleOperator, Remits: remits}})
			return err
		})
		on := must(s.OpenSession(t.Context(), api.Session{Name: "anna", Role: anna.Role, Remits: anna.Remits}, anna.Revision))(t)
		if got := must(s.AuthenticateSession(t.Context(), on.Secret))(t); got.AsToken().Remits.String() != "web@canary" {
			t.Errorf("the session has the remits %q", got.Remits)
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			anna.Remits = nil
			_, err := tx.PutUser(ctx, anna)
			return err
		})
		if _, err := s.AuthenticateSession(t.Context(), on.Secret); api.KindOf(err) != api.KindNotFound {
			t.Errorf("the session goes on: %v", err)
		}
		if _, err := s.OpenSession(t.Context(), api.Session{Name: "anna", Role: anna.Role, Remits: remits}, on.ExpiresAt.Unix()); api.KindOf(err) != api.KindNotFound {
			t.Errorf("a login by what was said before: %v", err)
		}
	})
}

// TestASessionOfAGivenIdentifierIsOpenedOnce, so that what was exchanged for one is
// not exchanged again; nobody here has to know whom somebody else vouches for.
func TestASessionOfAGivenIdentifierIsOpenedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		anna := api.Session{ID: "sgiven", Name: "anna@example.com", Role: api.RoleAdmin, Provider: "https://login.example.com", Subject: "u1"}
		on := must(s.OpenSession(t.Context(), anna, 0))(t)
		got := must(s.AuthenticateSession(t.Context(), on.Secret))(t)
		if got.ID != "sgiven" || got.Provider != anna.Provider || got.Subject != "u1" || got.AsToken().Provider != anna.Provider || got.ExpiresAt.Sub(got.CreatedAt) != api.SessionLife {
			t.Errorf("the session is %+v", got)
		}
		if _, err := s.OpenSession(t.Context(), anna, 0); api.KindOf(err) != api.KindExists {
			t.Errorf("opened twice: %v", err)
		}
		log := must(s.Audit(t.Context(), api.AuditFilter{Actor: anna.Name}, api.Cursor{}))(t).Items
		if len(log) != 1 || log[0].Action != "login" || !strings.Contains(string(log[0].After), "login.example.com") || strings.Contains(string(log[0].After), on.Secret) {
			t.Errorf("the audit log says %+v", log)
		}
	})
}
