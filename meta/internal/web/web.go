// Package web is ops-meta's page: what the fleet runs, what is failing,
// rollouts as they happen, and everything an operator does daily.
//
// It is rendered on the server and uses nothing but /api/v1, through a client
// whose transport is the API's handler in this process: the page can do only
// what the visitor's token may, and every write is audited like any other.
// Scripts are embedded and only add to what works without them: live updates
// (server-sent events), keyboard shortcuts, upload progress.
package web

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
)

//go:embed assets/*.js assets/*.css assets/*.svg
var assets embed.FS

//go:embed templates/*.html
var templates embed.FS

// Config is what the page needs of the server.
type Config struct {
	API     http.Handler     // answers /api/v1
	Key     [32]byte         // seals sessions; the same on every replica
	Secure  bool             // the page is reached over TLS: cookies are marked so
	Handout func() Handout   // nil: the server hands out no sidecar
	Now     func() time.Time // nil: time.Now

	Provider string        // what people know the login provider as; empty: there is none
	Reach    func() string // the server's address, as people reach it; nil: none is known
	Log      zerolog.Logger
	// NotFound answers anyone who has not logged in and asks for what is no page,
	// or for a page without being a browser; nil: [http.NotFound].
	NotFound http.Handler
}

type site struct {
	client *api.Client
	seal   *sealer
	pages  map[string]*template.Template
	cfg    Config
}

// New is the page's handler; mount it at /.
func New(cfg Config) (http.Handler, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NotFound == nil {
		cfg.NotFound = http.NotFoundHandler()
	}
	client, err := api.NewClient(api.ClientConfig{Server: "http://ops-meta", Transport: api.HandlerTransport(cfg.API), UserAgent: "ops-meta-page"})
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(cfg.Key, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("cannot seal sessions: %w", err)
	}
	s := &site{client: client, seal: seal, cfg: cfg}
	if s.pages, err = parsePages(templates, cfg.Now); err != nil {
		return nil, err
	}
	return s.newMux()
}

func (s *site) newMux() (http.Handler, error) {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", withCaching(http.FileServerFS(files))))
	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /login/provider", s.beginLogin)
	mux.HandleFunc("GET /login/callback", s.finishLogin)
	mux.HandleFunc("POST /logout", s.logout)
	for pattern, h := range map[string]func(*visit) error{
		"GET /{$}":                      overviewPage,
		"GET /hosts":                    hostsPage,
		"GET /add-hosts":                addHostsPage,
		"POST /add-hosts":               createEnrolment,
		"GET /hosts/{name}":             hostPage,
		"GET /agents":                   agentsPage,
		"GET /agents/{name}":            agentPage,
		"GET /rollouts":                 rolloutsPage,
		"GET /rollouts/{id}":            rolloutPage,
		"GET /rollouts/{id}/hosts":      rolloutHostsPage,
		"GET /rollouts/{id}/{action}":   confirmRolloutAction,
		"POST /rollouts/{id}/{action}":  actOnRollout,
		"GET /deploy":                   deployPage,
		"POST /deploy":                  deployForm,
		"GET /publish":                  publishPage,
		"POST /publish":                 publishTarball,
		"GET /groups":                   groupsPage,
		"GET /groups/edit":              editGroup,
		"POST /groups/edit":             saveGroup,
		"POST /groups/delete":           deleteGroup,
		"GET /assignments/delete":       confirmUnassign,
		"POST /assignments/delete":      deleteAssignment,
		"GET /holds":                    holdsPage,
		"GET /holds/new":                newHold,
		"POST /holds/new":               createHold,
		"GET /holds/{id}/release":       confirmRelease,
		"POST /holds/{id}/release":      releaseHold,
		"GET /changes":                  changesPage,
		"GET /settings":                 settingsPage,
		"POST /settings/tokens":         createToken,
		"GET /settings/tokens/delete":   confirmDeleteToken,
		"POST /settings/tokens/delete":  deleteToken,
		"GET /settings/sessions/end":    confirmEndSession,
		"POST /settings/sessions/end":   endSession,
		"GET /settings/users/delete":    confirmDeleteUser,
		"POST /settings/users/delete":   deleteUser,
		"POST /settings/users":          saveUser,
		"POST /settings/targets":        saveTarget,
		"GET /settings/targets/delete":  confirmDeleteTarget,
		"POST /settings/targets/delete": deleteTarget,
		"POST /settings/dead/retry":     retryDead,
		"GET /standstill":               standstillPage,
		"POST /standstill":              endStandstill,
		"GET /live":                     streamNudges,

		"GET /schedules":                   schedulesPage,
		"GET /schedules/{name}/plan":       planPage,
		"GET /schedules/{name}/plan/hosts": planHostsPage,
		"GET /schedules/{name}/{action}":   confirmScheduleAction,
		"POST /schedules/{name}/{action}":  actOnSchedule,
	} {
		mux.HandleFunc(pattern, s.forVisitor(h))
	}
	mux.HandleFunc("/", s.noPage)
	return withSecurityHeaders(mux), nil
}

// noPage answers for every path that is not a page: by one to a browser whose
// visitor has logged in, else by the server's own words. It never leads to the
// login page, which programs would take for what they asked for.
func (s *site) noPage(w http.ResponseWriter, r *http.Request) {
	if _, err := s.seal.openSession(r); err != nil || !wantsPage(r) {
		s.cfg.NotFound.ServeHTTP(w, r)
		return
	}
	s.forVisitor(func(*visit) error { return errNotFound })(w, r)
}

// visit is one request of a visitor who has logged in.
type visit struct {
	*site
	w      http.ResponseWriter
	r      *http.Request
	api    *api.Client
	viewer api.Identity
}

// forVisitor admits who has a session to h and shows what h returns as an error.
func (s *site) forVisitor(h func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, err := s.seal.openSession(r)
		if err != nil {
			s.toLogin(w, r)
			return
		}
		r = r.WithContext(api.WithRemoteAddr(r.Context(), r.RemoteAddr))
		v := &visit{site: s, w: w, r: r, api: s.client.WithToken(token)}
		if v.viewer, err = v.api.WhoAmI(r.Context()); err == nil {
			err = h(v)
		}
		if err != nil && r.Context().Err() == nil {
			v.showError(err)
		}
	}
}

var errNotFound = &api.Problem{Title: "There is no such page", Status: http.StatusNotFound, Hint: "Use the menu above."}

// showError shows an error as a page with its status.
func (v *visit) showError(err error) {
	p := &api.Problem{Title: "This did not work", Status: http.StatusInternalServerError, Detail: err.Error()}
	errors.As(err, &p)
	if p.Status == http.StatusUnauthorized {
		http.SetCookie(v.w, sessionCookieFor("", v.cfg.Secure))
		v.toLogin(v.w, v.r)
		return
	}
	if p.Status >= http.StatusInternalServerError {
		v.cfg.Log.Error().Err(err).Str("path", v.r.URL.Path).Msg("page failed")
	}
	v.renderPage(p.Status, "error", p.Title, p)
}

// showAgain shows a form again with what is wrong about it, so that nothing
// has to be entered twice. What is not the form's fault is an error page.
func (v *visit) showAgain(err error, page, title string, data func(*api.Problem) any) error {
	var p *api.Problem
	if !errors.As(err, &p) || p.Status == http.StatusUnauthorized || p.Status >= http.StatusInternalServerError {
		return err
	}
	v.renderPage(p.Status, page, title, data(p))
	return nil
}

// redirectTo follows a write, so that reloading the page does not repeat it.
func (v *visit) redirectTo(to string) error {
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// withSecurityHeaders sets what every answer carries: no script, style or picture from
// elsewhere, no framing, and no write that another site asks for.
func withSecurityHeaders(h http.Handler) http.Handler {
	h = http.NewCrossOriginProtection().Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

func withCaching(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		h.ServeHTTP(w, r)
	})
}
