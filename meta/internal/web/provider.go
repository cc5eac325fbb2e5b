package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// loginCookie keeps the ticket of a login while its visitor is at the provider. It
// comes back with them from there, unlike the session's, and has no use but that.
const (
	loginCookie = "ops_meta_login"
	loginPath   = "/login"
	loginLife   = 10 * time.Minute
)

func (s *site) loginCookieFor(ticket string) *http.Cookie {
	c := &http.Cookie{
		Name: loginCookie, Value: ticket, Path: loginPath, HttpOnly: true, Secure: s.cfg.Secure,
		SameSite: http.SameSiteLaxMode, MaxAge: int(loginLife.Seconds()),
	}
	if ticket == "" {
		c.MaxAge = -1
	}
	return c
}

// showLoginForm shows the login page, with the provider where there is one.
func (s *site) showLoginForm(w http.ResponseWriter, status int, view loginView) {
	if view.Provider = s.cfg.Provider; view.Provider != "" {
		// By the name by which the provider sends people back, where the ticket is found.
		view.Begin = "/login/provider"
		if s.cfg.Reach != nil {
			view.Begin = s.cfg.Reach() + view.Begin
		}
		view.Begin += "?" + url.Values{"next": {cmp.Or(view.Next, "/")}}.Encode()
	}
	s.renderLogin(w, status, view)
}

// beginLogin sends a visitor to the provider: one of the page, or one whose own
// program waits for them.
func (s *site) beginLogin(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	b := api.BeginLogin{Next: localPath(q.Get("next"))}
	if q.Has("port") {
		port, _ := strconv.Atoi(q.Get("port")) // 0 is refused
		b = api.BeginLogin{Loopback: &api.Loopback{Port: port, Challenge: q.Get("challenge"), State: q.Get("state")}}
	}
	begun, err := s.client.BeginLogin(api.WithRemoteAddr(r.Context(), r.RemoteAddr), b)
	if err != nil {
		s.refuseLogin(w, b.Next, err)
		return
	}
	http.SetCookie(w, s.loginCookieFor(begun.Ticket))
	http.Redirect(w, r, begun.URL, http.StatusSeeOther)
}

// programView asks whether a program may be logged in.
type programView struct {
	Name string // as whom
	To   string // where it waits
	Port string // of To
}

// finishLogin lets in whom the provider has sent back.
func (s *site) finishLogin(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := api.FinishLogin{State: q.Get("state"), Code: q.Get("code"), Error: q.Get("error")}
	if text := q.Get("error_description"); f.Error != "" && text != "" {
		f.Error += ": " + text
	}
	c, err := r.Cookie(loginCookie)
	if err != nil {
		// Nobody began this one here. It is not even a try, which would count against
		// whoever is behind that address: any page can lead a browser to this one.
		s.refuseLogin(w, "/", &api.Problem{
			Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Detail: "this login was begun elsewhere, or too long ago",
			Hint: "log in again from the beginning, in this browser",
		})
		return
	}
	f.Ticket = c.Value
	http.SetCookie(w, s.loginCookieFor(""))
	done, err := s.client.FinishLogin(api.WithRemoteAddr(r.Context(), r.RemoteAddr), f)
	switch {
	case err != nil:
		s.refuseLogin(w, "/", err)
		return
	case done.Name != "":
		to, err := url.Parse(done.Redirect)
		if err != nil {
			s.refuseLogin(w, "/", err)
			return
		}
		s.writePage(w, http.StatusOK, "program", view{Title: "Log a program in", Data: programView{Name: done.Name, To: done.Redirect, Port: to.Port()}})
		return
	case done.Redirect != "": // with an error, which says nothing that is secret
		http.Redirect(w, r, done.Redirect, http.StatusSeeOther)
		return
	case done.Session == nil:
		s.refuseLogin(w, "/", &api.Problem{Title: "Nobody was let in", Status: http.StatusInternalServerError})
		return
	}
	sealed, err := s.seal.sealToken(done.Session.Secret)
	if err != nil {
		s.refuseLogin(w, "/", err)
		return
	}
	http.SetCookie(w, sessionCookieFor(sealed, s.cfg.Secure))
	// The session's cookie is not sent along with what another site leads to, and a
	// redirect would still be led by the provider. A page of ours is not.
	next := localPath(done.Next)
	w.Header().Set("Refresh", "0; url="+next)
	s.writePage(w, http.StatusOK, "letin", view{Title: "Logged in", Data: next})
}

func (s *site) refuseLogin(w http.ResponseWriter, next string, err error) {
	p := &api.Problem{Title: "This did not work", Status: http.StatusInternalServerError, Detail: err.Error()}
	errors.As(err, &p)
	if p.Status >= http.StatusInternalServerError {
		s.cfg.Log.Warn().Err(err).Msg("a login by the provider failed")
	}
	s.showLoginForm(w, p.Status, loginView{Next: localPath(next), Error: p.Error() + ".", Hint: p.Hint})
}
