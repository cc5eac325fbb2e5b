package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// guessesPerMin is how many logins by one name there may be in a minute, from
// wherever.
const guessesPerMin = 10

func (s *Server) userRoutes() []route {
	return []route{
		{
			method: "GET", path: "/users", id: "listUsers", summary: "Those who log in with a password, by name", role: api.RoleAdmin,
			query: listingParams(search), endpoint: reads(func(c *call) (api.Page[api.User], error) {
				page, err := c.pageCursor()
				if err != nil {
					return api.Page[api.User]{}, err
				}
				return s.backend.Users.Users(c.Context(), c.URL.Query().Get("q"), page)
			}),
		},
		{method: "GET", path: "/users/{user}", id: "getUser", summary: "One of them", role: api.RoleAdmin, endpoint: reads(func(c *call) (api.User, error) {
			return s.backend.Users.User(c.Context(), c.PathValue("user"))
		})},
		{method: "PUT", path: "/users/{user}", id: "putUser", summary: "Make or replace one, and end their sessions", role: api.RoleAdmin, guarded: true, endpoint: takes(http.StatusOK, s.putUser)},
		{method: "DELETE", path: "/users/{user}", id: "deleteUser", summary: "Remove one, and end their sessions", role: api.RoleAdmin, guarded: true, endpoint: acts(func(c *call) error {
			revision, err := c.guardRevision()
			if err != nil {
				return err
			}
			return s.backend.Users.DeleteUser(c.Context(), c.actor(), c.PathValue("user"), revision)
		})},
	}
}

func (s *Server) putUser(c *call, u api.User) (api.User, error) {
	if u.Name != "" && u.Name != c.PathValue("user") {
		return api.User{}, api.InvalidField("name", "the body's name %q is not the address's %q", printable.Clip(u.Name), printable.Clip(c.PathValue("user")))
	}
	u.Name = c.PathValue("user")
	var err error
	if u.Revision, err = c.guardRevision(); err != nil {
		return api.User{}, err
	}
	return s.backend.Users.PutUser(c.Context(), c.actor(), u)
}

func (s *Server) sessionRoutes() []route {
	return []route{
		{method: "POST", path: "/sessions", id: "logIn", summary: "Log in with a name and a password; the session's secret is in this reply and nowhere else", endpoint: takes(http.StatusCreated, s.logIn)},
		{
			method: "GET", path: "/sessions", id: "listSessions", summary: "Who is logged in: to admins everyone, to others themselves", role: api.RoleViewer,
			query: listingParams(), endpoint: reads(func(c *call) (api.Page[api.Session], error) {
				page, err := c.pageCursor()
				if err != nil {
					return api.Page[api.Session]{}, err
				}
				return s.backend.Sessions.Sessions(c.Context(), c.onlyOwn(), page)
			}),
		},
		{
			method: "DELETE", path: "/sessions/{session}", id: "endSession", summary: "End a session at once: self, one's own, or as an admin anybody's", role: api.RoleViewer,
			endpoint: acts(s.endSession),
		},
		{
			method: "PUT", path: "/sessions/self/password", id: "changePassword", summary: "Change one's own password, and end one's other sessions", role: api.RoleViewer,
			endpoint: takes(http.StatusOK, s.changePassword),
		},
	}
}

// loginRoutes are those of logins at a provider.
func (s *Server) loginRoutes() []route {
	return []route{
		{method: "GET", path: "/provider", id: "loginProvider", summary: "The OpenID Connect provider whose people may log in; nothing in it where there is none", endpoint: reads(func(*call) (api.LoginProvider, error) {
			return s.backend.Logins.LoginProvider(), nil
		})},
		{method: "POST", path: "/provider/begin", id: "beginLogin", summary: "Begin a login at the provider", endpoint: takes(http.StatusOK, func(c *call, b api.BeginLogin) (api.BegunLogin, error) {
			return s.backend.Logins.BeginLogin(c.Context(), b)
		})},
		{
			method: "POST", path: "/provider/finish", id: "finishLogin", summary: "Let in whom the provider has sent back: a session, or where a program waits for it",
			endpoint: takes(http.StatusOK, func(c *call, f api.FinishLogin) (api.FinishedLogin, error) {
				if err := s.countLogin(c); err != nil {
					return api.FinishedLogin{}, err
				}
				return s.backend.Logins.FinishLogin(c.Context(), c.caller.From, f)
			}),
		},
		{
			method: "POST", path: "/provider/redeem", id: "redeemLogin", summary: "Make a session of the code that a browser brought, once",
			endpoint: takes(http.StatusCreated, func(c *call, r api.RedeemLogin) (api.Session, error) {
				if err := s.countLogin(c); err != nil {
					return api.Session{}, err
				}
				return s.backend.Logins.RedeemLogin(c.Context(), c.caller.From, r)
			}),
		},
	}
}

// countLogin counts a try for its address, before anything is looked at: tries that
// come at once must not all pass.
func (s *Server) countLogin(c *call) error {
	from := s.access.Address(c.Request)
	if s.access.failures.takeOne(from) {
		return nil
	}
	return tooMany("too many wrong tokens or logins from this address", s.access.failures.waitFor(from))
}

// logIn lets a person in. Every try counts, for the address and for the name,
// before anything is looked at: tries that come at once must not all pass.
func (s *Server) logIn(c *call, l api.Login) (api.Session, error) {
	if err := s.countLogin(c); err != nil {
		return api.Session{}, err
	}
	if len(l.Name) > maxLoginName {
		l.Name = "" // there is nobody of such a name
	}
	if !s.access.guesses.takeOne(l.Name) {
		return api.Session{}, tooMany("too many logins by this name", s.access.guesses.waitFor(l.Name))
	}
	session, err := s.backend.Sessions.LogIn(c.Context(), c.caller.From, l)
	return session, deniedPassword(err)
}

// maxLoginName is longer than any name.
const maxLoginName = 256

// deniedPassword is the refusal of a password that is wrong.
func deniedPassword(err error) error {
	if api.KindOf(err) != api.KindNotFound {
		return err
	}
	return &denied{
		status: http.StatusUnauthorized, message: "the name or the password is wrong",
		hint: "an admin gives another password with: ops-meta user password NAME",
	}
}

// onlyOwn is the name of a caller who may see and end no sessions but their
// own; empty for admins.
func (c *call) onlyOwn() string {
	if c.caller.Role == api.RoleAdmin {
		return ""
	}
	return c.caller.Name
}

func (s *Server) endSession(c *call) error {
	id, of := c.PathValue("session"), c.onlyOwn()
	if id == api.Self {
		if c.caller.SessionID == "" {
			return refuseTokenAsSession
		}
		id = c.caller.SessionID
	}
	return s.backend.Sessions.EndSession(c.Context(), c.actor(), id, of)
}

var refuseTokenAsSession = &api.Error{
	Kind: api.KindConflict, Message: "this is a token, not the session of a person",
	Hint: "a token is made void by an admin: ops-meta token remove NAME",
}

func (s *Server) changePassword(c *call, p api.NewPassword) (api.Identity, error) {
	if c.caller.SessionID == "" {
		return api.Identity{}, refuseTokenAsSession
	}
	if c.caller.Provider != "" {
		return api.Identity{}, &api.Error{Kind: api.KindConflict, Message: "the password of " + c.caller.Name + " is not kept here", Hint: "change it at " + c.caller.Provider}
	}
	if !s.access.guesses.takeOne(c.caller.Name) {
		return api.Identity{}, tooMany("too many logins by this name", s.access.guesses.waitFor(c.caller.Name))
	}
	err := s.backend.Sessions.ChangePassword(c.Context(), c.actor(), c.caller.SessionID, p)
	return c.caller, deniedPassword(err)
}
