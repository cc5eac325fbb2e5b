package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// view is what the layout needs besides a page's own Data.
type view struct {
	Title  string
	Nav    string // path of the menu entry that is current
	Self   string // this page's address, for live updates
	Viewer api.Identity
	Data   any
	Still  *api.Standstill // the fleet stands still; nil: it does not
}

// CanWrite tells a template whether to offer what changes something.
func (v view) CanWrite() bool {
	return v.Viewer.Role == api.RoleOperator || v.Viewer.Role == api.RoleAdmin
}

// CanWriteAll tells a template whether to offer what no remit covers.
func (v view) CanWriteAll() bool { return v.CanWrite() && len(v.Viewer.Remits) == 0 }

// IsAdmin tells a template whether to offer what only an admin may do.
func (v view) IsAdmin() bool { return v.Viewer.Role == api.RoleAdmin }

func parsePages(files embed.FS, now func() time.Time) (map[string]*template.Template, error) {
	entries, err := files.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	base, err := template.New("").Funcs(templateFuncs(now)).ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("cannot parse the page's layout: %w", err)
	}
	pages := map[string]*template.Template{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		page, err := base.Clone()
		if err == nil {
			page, err = page.ParseFS(files, path.Join("templates", e.Name()))
		}
		if err != nil {
			return nil, fmt.Errorf("cannot parse the page %s: %w", name, err)
		}
		pages[name] = page
	}
	return pages, nil
}

// renderPage writes the page whole or not at all: a template that fails half-way
// must not leave half a page.
func (v *visit) renderPage(status int, page, title string, data any) {
	v.renderPageAs(v.r.URL.RequestURI(), status, page, title, data)
}

// renderPageAs writes the page, which renews itself from the address self.
func (v *visit) renderPageAs(self string, status int, page, title string, data any) {
	nav := "/" + strings.SplitN(strings.TrimPrefix(v.r.URL.Path, "/"), "/", 2)[0]
	v.writePage(v.w, status, page, view{Title: title, Nav: nav, Self: self, Viewer: v.viewer, Data: data, Still: v.standstillInForce()})
}

func (s *site) renderLogin(w http.ResponseWriter, status int, data loginView) {
	s.writePage(w, status, "login", view{Title: "Log in", Data: data})
}

func (s *site) writePage(w http.ResponseWriter, status int, page string, data view) {
	var out bytes.Buffer
	if err := s.pages[page].ExecuteTemplate(&out, "layout", data); err != nil {
		s.cfg.Log.Error().Err(err).Str("page", page).Msg("cannot render")
		http.Error(w, "cannot render the page: see the server's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w)
}

func templateFuncs(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"ago":       func(t time.Time) string { return timespan.Ago(now(), t) },
		"unix":      func(s int64) time.Time { return time.Unix(s, 0).UTC() },
		"stamp":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"bytes":     printable.Bytes,
		"percent":   percent,
		"plural":    printable.Count,
		"join":      strings.Join,
		"trimslash": func(s string) string { return strings.TrimSuffix(s, "/") },
		"query":     withQuery,
		"address":   meta.RedactURL,
		"within":    api.Role.Within,
		"scope":     func(s api.Scope) string { return s.String() },
		"mood":      moodOf,
		"words":     splitWords,
		"list":      func(items ...any) []any { return items },
		"seconds":   func(n int) string { return (time.Duration(n) * time.Second).String() },
		"contains":  strings.Contains,
		"pair": func(name string, s []share) agentCard {
			return agentCard{AgentOverview: api.AgentOverview{Name: name}, Shares: s}
		},
		"stageof":     stageOf,
		"stagenumber": func(index int) int { return index + 1 },

		"eventmood":      eventMood,
		"schedulemood":   scheduleMood,
		"planhosts":      func(q api.PlanQuery, p api.SchedulePlan) string { return planAddress(planQueryOf(q, p), true) },
		"planpage":       func(q api.PlanQuery) string { q.From = time.Time{}; return planAddress(q, false) },
		"newestfirst":    newestTransitions,
		"lasttransition": lastTransition,
	}
}

func percent(part, whole int) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// withQuery is the address u with key set to value, as links that refine a
// listing need it.
func withQuery(u, key, value string) (string, error) {
	parsed, err := url.Parse(u)
	if err != nil {
		return "", err
	}
	q := parsed.Query()
	q.Set(key, value)
	if value == "" {
		q.Del(key)
	}
	if key != "cursor" {
		q.Del("cursor")
	}
	parsed.RawQuery = q.Encode()
	return parsed.String(), nil
}

// moodOf is the colour class of a state, status or phase.
func moodOf(state string) string {
	switch state {
	case "started", "idle", "ok", "completed", "succeeded":
		return "good"
	case "failed", "rolledBack", "rollingBack", "aborted", "failing", "error":
		return "bad"
	case "paused", "inconclusive", "awaitingApproval", "held", "silent", "drifted", "problem", "warning":
		return "warn"
	case "running", "downloading", "staging", "stopping", "starting", "probation", "updating":
		return "busy"
	}
	if strings.HasPrefix(state, "unknown") {
		return "bad"
	}
	return "calm"
}

// splitWords turns a camelCase state into words.
func splitWords(state string) string {
	var b strings.Builder
	for _, r := range state {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// eventMood is the colour class of a line of a host's timeline.
func eventMood(e api.Event) string {
	switch e.Kind {
	case api.EventError, api.EventConflict:
		if e.Message == "" && e.Kind == api.EventError {
			return "good" // it went away
		}
		return "bad"
	case api.EventSilent, api.EventHeld, api.EventRemoved:
		return "warn"
	case api.EventReturned, api.EventFirstSeen:
		return "good"
	case api.EventGrant:
		return "busy"
	}
	return moodOf(e.To)
}

func stageOf(r api.Rollout) string {
	total := len(r.Strategy.Stages)
	return fmt.Sprintf("stage %d of %d", min(r.Stage+1, total), total)
}

func newestTransitions(all []api.Transition) []api.Transition {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

func lastTransition(all []api.Transition) *api.Transition {
	if len(all) == 0 {
		return nil
	}
	return &all[len(all)-1]
}
