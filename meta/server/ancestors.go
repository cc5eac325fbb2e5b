package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
)

// What the older servers answered besides heartbeats, for the health checks and
// scripts that still ask: byte for byte in form, so that nothing that reads it
// has to be changed on the day of the move. Their /workdir and /config/reload
// are gone: the one tells strangers where things lie, the other has no meaning.
func (s *Server) serveAncestors(mux *http.ServeMux) {
	plain := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { serveText(w, r, text) }
	}
	mux.HandleFunc("GET /health", plain("ok"))
	mux.HandleFunc("GET /version", plain(buildinfo.Version()))
	mux.HandleFunc("GET /api/version", plain(buildinfo.Version()))
	mux.HandleFunc("GET /api/health/check", func(w http.ResponseWriter, r *http.Request) {
		serveAs(w, r, "application/json; charset=utf-8", `{"message":"ok","success":true}`)
	})
	reports := &oldStatus{fleet: s.fleet, access: s.access, slots: make(chan struct{}, oldStatusAtOnce)}
	mux.HandleFunc("GET /status/json/{agent...}", reports.statusHandler(statusJSON))
	mux.HandleFunc("GET /status/text/{agent...}", reports.statusHandler(statusText))
}

const (
	// oldStatusAtOnce bounds what is asked without a token: each answer walks
	// the whole fleet.
	oldStatusAtOnce = 2
	// oldStatusAge is after how long the older servers forgot a silent host.
	oldStatusAge = 3 * 24 * time.Hour
)

// oldStatus answers what every host last said of one agent. It tells strangers
// what the fleet runs, so it is open only where heartbeats are, whose replies
// tell as much; elsewhere it takes a viewer's token.
type oldStatus struct {
	fleet  *fleet.Fleet
	access *httpapi.Access
	slots  chan struct{}
}

// statusForm is one of the older forms: what stands before and after all
// hosts and between two of them, and one host.
type statusForm struct {
	media                  string
	before, between, after string
	host                   func(agent string, h fleet.Reported) string
}

func (o *oldStatus) statusHandler(form statusForm) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		agent := r.PathValue("agent")
		if agent == "" {
			http.Error(w, "agent name is blank", http.StatusBadRequest)
			return
		}
		if err := o.mayRead(r); err != nil {
			refuseStatus(w, err)
			return
		}
		select {
		case o.slots <- struct{}{}:
			defer func() { <-o.slots }()
		default:
			w.Header().Set("Retry-After", "2")
			http.Error(w, "others are asking for this right now: come again in a moment", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", form.media)
		out := bufio.NewWriterSize(newPatient(w), 32<<10)
		o.writeStatus(r.Context(), out, form, agent)
		_ = out.Flush()
	}
}

// mayRead admits viewers, and everybody while heartbeats are open.
func (o *oldStatus) mayRead(r *http.Request) error {
	if o.access.OpenHeartbeats {
		return nil
	}
	id, err := o.access.Identify(r)
	if err != nil {
		return err
	}
	return httpapi.Authorize(id, api.RoleViewer)
}

func refuseStatus(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	var denied interface{ HTTPStatus() int }
	if errors.As(err, &denied) {
		status = denied.HTTPStatus()
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ops-meta"`)
	}
	http.Error(w, err.Error(), status)
}

// writeStatus tells of the hosts that an older server would still know.
func (o *oldStatus) writeStatus(ctx context.Context, out *bufio.Writer, form statusForm, agent string) {
	since, between := time.Now().Add(-oldStatusAge), ""
	_, _ = out.WriteString(form.before)
	o.fleet.EachReported(agent, func(h fleet.Reported) bool {
		if h.Heard.Before(since) {
			return true
		}
		_, err := out.WriteString(between + form.host(agent, h))
		between = form.between
		return err == nil && ctx.Err() == nil
	})
	_, _ = out.WriteString(form.after)
}

var statusJSON = statusForm{
	media: "application/json; charset=UTF-8", before: "{", between: ",", after: "}",
	host: func(agent string, h fleet.Reported) string {
		var told *oldAgent
		if h.Known {
			told = &oldAgent{agent, h.Version, h.Status, h.Heard.Unix()}
		}
		name, _ := json.Marshal(h.Host)
		value, _ := json.Marshal(told)
		return string(name) + ":" + string(value)
	},
}

// oldAgent is one agent of one host as the older servers told it.
type oldAgent struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Status    string `json:"status"`
	Timestamp int64  `json:"timestamp"` // Unix seconds
}

var statusText = statusForm{
	media: "text/plain; charset=utf-8",
	host: func(_ string, h fleet.Reported) string {
		if !h.Known {
			return h.Host + " not found\n"
		}
		return fmt.Sprintf("%s %s %s %d %s\n", h.Host, h.Version, printableOnly(h.Status), h.Heard.Unix(), h.Heard.Local().Format(time.DateTime))
	},
}

// printableOnly keeps a host's words from being orders to a terminal, or a line of
// their own.
func printableOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// nothingHere is for every address that is none of ours. It is never a
// redirect: a login page in a tarball's place is worse than no answer.
func nothingHere(w http.ResponseWriter, r *http.Request) {
	const hint = "the page is for browsers; programs use /api/v1, described in /api/v1/openapi.json"
	if !strings.HasPrefix(r.URL.Path, "/api/") && !strings.Contains(r.Header.Get("Accept"), "json") {
		http.Error(w, "404: there is nothing here; "+hint, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(api.Problem{
		Type: "urn:ops-meta:notFound", Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound,
		Detail: "there is nothing here", Hint: hint,
	})
}
