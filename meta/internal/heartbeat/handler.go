package heartbeat

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Access decides who may report for a host. An error may say how to answer by
// methods HTTPStatus() int and RetryAfter() time.Duration; else it is a 401.
type Access interface {
	// Sender tells who sends a heartbeat, before any of its body is read.
	Sender(r *http.Request) (api.Identity, error)
	// MayReport decides whether the sender may report for a host.
	MayReport(r *http.Request, sender api.Identity, host string) error
}

// Options are a handler's surroundings.
type Options struct {
	Fleet       *fleet.Fleet
	Access      Access                     // nil: heartbeats are open to anybody
	Address     func(*http.Request) string // where a request comes from; nil: the peer
	Limits      Limits
	MaxInFlight int // heartbeats at once that have arrived whole; more are asked to come later [4096]
	MaxArriving int // heartbeats at once that have not; beyond it the oldest of who has most make way [4096]
	Log         zerolog.Logger
}

// Handler answers heartbeats on [meta.PathV1] and [meta.PathLegacy].
type Handler struct {
	opts     Options
	arrivals *bodies.Arrivals
	room     *bodies.Room
	inFlight atomic.Int64
	counts   struct{ all, steady, unchanged, refused, signed atomic.Int64 }
}

// Counts is how many heartbeats there were since the start.
type Counts struct {
	All       int64 // answered in any way
	Steady    int64 // that repeated the one before
	Unchanged int64 // answered with 304
	Refused   int64
	Signed    int64 // whole replies that were signed
}

// New makes a handler.
func New(o Options) *Handler {
	o.Limits = o.Limits.withDefaults()
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 4096
	}
	if o.Address == nil {
		o.Address = peerAddress
	}
	return &Handler{opts: o, arrivals: bodies.NewArrivals(o.MaxArriving), room: bodies.NewRoom(bodies.DefaultRoom)}
}

// Counts tells how many heartbeats there were.
func (h *Handler) Counts() Counts {
	return Counts{h.counts.all.Load(), h.counts.steady.Load(), h.counts.unchanged.Load(), h.counts.refused.Load(), h.counts.signed.Load()}
}

// ServeHTTP answers one heartbeat.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.counts.all.Add(1)
	dialect := meta.DialectV1
	if r.URL.Path == meta.PathLegacy {
		dialect = meta.DialectLegacy
	}
	reply, err := h.answerRequest(w, r, dialect)
	if err != nil {
		h.counts.refused.Add(1)
		h.writeRefusal(w, r, err)
		return
	}
	h.writeReply(w, r, reply)
}

// answerRequest asks first who it is that sends, then reads what: only a heartbeat
// that has arrived whole takes one of the places of those in flight.
func (h *Handler) answerRequest(w http.ResponseWriter, r *http.Request, d meta.Dialect) (*fleet.Reply, error) {
	if r.Method != http.MethodPost {
		return nil, refuseWith(http.StatusMethodNotAllowed, "heartbeats are sent by POST")
	}
	sender, err := h.identifySender(r)
	if err != nil {
		bodies.LeaveUnread(w)
		return nil, err
	}
	sent, zipped, err := h.receiveBody(w, r)
	if err != nil {
		return nil, err
	}
	defer h.inFlight.Add(-1)
	if h.inFlight.Add(1) > int64(h.opts.MaxInFlight) {
		keepBuffer(sent)
		return nil, refuseWith(http.StatusServiceUnavailable, "too many heartbeats at once: come again later")
	}
	body, err := h.openBody(sent, zipped)
	if err != nil {
		return nil, err
	}
	defer body.releaseBuffer()
	return h.respondTo(r, sender, fleet.Beat{Dialect: d, Remote: h.opts.Address(r), Body: body.data})
}

// respondTo takes the short way when the report repeats the one before.
func (h *Handler) respondTo(r *http.Request, sender api.Identity, b fleet.Beat) (*fleet.Reply, error) {
	if name, ok := fleet.Hostname(b.Body); ok {
		if err := h.authorizeHost(r, sender, name); err != nil {
			return nil, err
		}
		if reply, ok := h.opts.Fleet.Steady(r.Context(), b); ok {
			h.counts.steady.Add(1)
			return reply, nil
		}
	}
	req, problems, err := Decode(b.Body, h.opts.Limits)
	if err != nil {
		return nil, err
	}
	if err := h.authorizeHost(r, sender, []byte(req.Hostname)); err != nil {
		return nil, err
	}
	return h.opts.Fleet.Report(r.Context(), fleet.Report{Beat: b, Request: req, Problems: problems})
}

func (h *Handler) identifySender(r *http.Request) (api.Identity, error) {
	if h.opts.Access == nil {
		return api.Identity{}, nil
	}
	return h.opts.Access.Sender(r)
}

func (h *Handler) authorizeHost(r *http.Request, sender api.Identity, host []byte) error {
	if h.opts.Access == nil {
		return nil
	}
	return h.opts.Access.MayReport(r, sender, string(host))
}

var jsonHeader = []string{"application/json; charset=utf-8"}

func (h *Handler) writeReply(w http.ResponseWriter, r *http.Request, reply *fleet.Reply) {
	header := w.Header()
	if reply.ETag != "" {
		header["Etag"] = reply.ETagHeader
	}
	if match := r.Header["If-None-Match"]; len(match) == 1 && match[0] == reply.ETag && match[0] != "" {
		h.counts.unchanged.Add(1)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header["Content-Type"] = jsonHeader
	if reply.IsPersonal() {
		h.writePersonal(w, reply)
		return
	}
	if reply.Gzip != nil {
		header["Vary"] = varyHeader
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			header["Content-Encoding"] = gzipHeader
			_, _ = w.Write(reply.Gzip)
			return
		}
	}
	header["Content-Length"] = reply.LengthHeader
	_, _ = w.Write(reply.Body)
}

// writePersonal writes a reply that is for one host alone, as it was signed: not
// compressed, which would cost more than the signature.
func (h *Handler) writePersonal(w http.ResponseWriter, reply *fleet.Reply) {
	body, signature := reply.Personal(time.Now())
	if signature != "" {
		h.counts.signed.Add(1)
		w.Header().Set(trust.ReplyHeader, signature)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

var (
	varyHeader = []string{"Accept-Encoding"}
	gzipHeader = []string{"gzip"}
)

// answered is what a refusal looks like to its sender.
type answered struct {
	status  int
	message string
	retry   time.Duration
}

// writeRefusal tells the sender what is wrong, in one shape for both dialects: all
// old clients ignore the status and read one of the fields.
func (h *Handler) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	a := answerTo(err)
	h.opts.Log.Debug().Err(err).Int("status", a.status).Str("from", h.opts.Address(r)).Msg("heartbeat refused")
	header := w.Header()
	switch a.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(int(max(a.retry, retryLater())/time.Second)))
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="ops-meta"`)
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	}
	header["Content-Type"] = jsonHeader
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(errorReply{ErrorMessage: a.message, Message: a.message})
}

// errorReply is read by old clients whatever the status.
type errorReply struct {
	ErrorMessage string `json:"errorMessage"`
	Success      bool   `json:"success"`
	Message      string `json:"message"`
}

func answerTo(err error) answered {
	var (
		ref    *refusal
		denied interface {
			error
			HTTPStatus() int
			RetryAfter() time.Duration
		}
		domain *api.Error
	)
	switch {
	case errors.As(err, &ref):
		return answered{status: ref.status, message: ref.message}
	case errors.As(err, &denied):
		return answered{denied.HTTPStatus(), denied.Error(), denied.RetryAfter()}
	case errors.As(err, &domain) && domain.Kind == api.KindUnavailable:
		return answered{status: http.StatusServiceUnavailable, message: domain.Message}
	case errors.As(err, &domain):
		return answered{status: http.StatusInternalServerError, message: "the server could not take the report"}
	}
	return answered{status: http.StatusUnauthorized, message: err.Error()}
}

// retryLater spreads hosts that were turned away, so that they do not return
// together.
func retryLater() time.Duration { return time.Duration(5+rand.IntN(26)) * time.Second }

// peerAddress is the address of the connection's other end.
func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
