package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

const (
	maxForm  = 256 << 10 // bytes of a form without a file
	maxLogin = 16 << 10  // bytes of the form that anybody may send
)

type loginView struct {
	Next  string
	Name  string // that was tried
	Error string
	Hint  string

	Provider string // what people know the login provider as; empty: there is none
	Begin    string // where a login there begins
}

func (s *site) showLogin(w http.ResponseWriter, r *http.Request) {
	s.showLoginForm(w, http.StatusOK, loginView{Next: localPath(r.URL.Query().Get("next"))})
}

// login takes a token, or a name and a password, and makes a session of it.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	next, name := localPath(r.PostFormValue("next")), strings.TrimSpace(r.PostFormValue("name"))
	token, err := s.secretOf(r, name)
	if err != nil || token == "" {
		view := loginView{Next: next, Name: name, Error: "This token does not let you in.", Hint: "A fresh server writes its first token to admin.token in its data directory."}
		status := http.StatusUnauthorized
		if p := (*api.Problem)(nil); errors.As(err, &p) {
			view.Error, view.Hint, status = p.Error(), p.Hint, p.Status
		}
		s.showLoginForm(w, status, view)
		return
	}
	sealed, err := s.seal.sealToken(token)
	if err != nil {
		s.showLoginForm(w, http.StatusInternalServerError, loginView{Next: next, Error: err.Error()})
		return
	}
	http.SetCookie(w, sessionCookieFor(sealed, s.cfg.Secure))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// secretOf is the token of a login form that lets its visitor in, or the
// secret of the session that a name and a password make.
func (s *site) secretOf(r *http.Request, name string) (string, error) {
	ctx := api.WithRemoteAddr(r.Context(), r.RemoteAddr)
	if name != "" {
		session, err := s.client.Login(ctx, api.Login{Name: name, Password: r.PostFormValue("password")})
		return session.Secret, err
	}
	token := strings.TrimSpace(r.PostFormValue("token"))
	_, err := s.client.WithToken(token).WhoAmI(ctx)
	return token, err
}

// logout ends the visitor's session, also a person's in the database.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	if secret, err := s.seal.openSession(r); err == nil && api.IsSessionSecret(secret) {
		ctx := api.WithRemoteAddr(r.Context(), r.RemoteAddr)
		if err := s.client.WithToken(secret).EndSession(ctx, api.Self); err != nil {
			s.cfg.Log.Warn().Err(err).Msg("a session that was logged out of could not be ended")
		}
	}
	http.SetCookie(w, sessionCookieFor("", s.cfg.Secure))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// toLogin sends a browser without a session to the login page, and back
// afterwards. A partial request gets a status instead, so that a login form
// never appears inside a page; and what is no browser is told that there is
// nothing for programs here, because a login page would be taken for an answer.
func (s *site) toLogin(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		bodies.LeaveUnread(w)
	}
	switch {
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Redirect", "/login")
		w.WriteHeader(http.StatusUnauthorized)
	case acceptsMedia(r, "text/event-stream"):
		http.Error(w, "log in first", http.StatusUnauthorized)
	case !wantsPage(r):
		s.cfg.NotFound.ServeHTTP(w, r)
	default:
		to := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" && r.URL.Path != "/live" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// wantsPage tells a browser that asks for a page, or sends one's form, from
// programs, which accept anything or say nothing.
func wantsPage(r *http.Request) bool {
	return acceptsMedia(r, "text/html") || acceptsMedia(r, "application/xhtml+xml")
}

// acceptsMedia reports whether a request names a media type as one it takes.
func acceptsMedia(r *http.Request, media string) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err == nil && kind == media {
			return params["q"] == "" || strings.Trim(params["q"], "0.") != "" // q=0 is a refusal
		}
	}
	return false
}

// localPath keeps a login from sending its visitor to another site.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.Contains(p, `\`) {
		return "/"
	}
	return p
}
