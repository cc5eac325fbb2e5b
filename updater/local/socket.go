package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ops-updater/ops-updater/internal/host/localsocket"

	"github.com/ops-updater/ops-updater/meta"
)

// maxOrder bounds what the socket reads.
const maxOrder = 64 << 10

// Listen opens the socket in dir for its owner alone; the caller holds the lock
// of dir.
func Listen(ctx context.Context, dir string) (net.Listener, error) {
	return localsocket.Listen(ctx, filepath.Join(dir, SocketName))
}

// Adopt goes on with the socket in dir that another version of the sidecar listened on
// in this process.
func Adopt(had *os.File, dir string) (net.Listener, error) {
	return localsocket.Adopt(had, filepath.Join(dir, SocketName))
}

// Socket is the handler behind the unix socket.
func Socket(d Daemon) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, d.Status(r.Context()))
	})
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, r *http.Request) {
		plan, err := d.Plan(r.Context())
		writeResult(w, plan, err)
	})
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		err := json.NewDecoder(io.LimitReader(r.Body, maxOrder)).Decode(&o)
		if err == nil {
			err = o.Validate()
		}
		if err == nil {
			err = d.Do(r.Context(), o)
		}
		writeResult(w, struct{}{}, err)
	})
	mux.HandleFunc("POST /beat", func(w http.ResponseWriter, r *http.Request) {
		h, err := d.Beat(r.Context())
		writeResult(w, h, err)
	})
	mux.HandleFunc("POST /settle", func(w http.ResponseWriter, r *http.Request) {
		writeResult(w, struct{}{}, d.Settle(r.Context()))
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		reloaded, err := d.Reload(r.Context())
		writeResult(w, reloaded, err)
	})
	mux.HandleFunc("GET /output", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("agent")
		if !meta.ValidName(name) {
			writeResult(w, nil, fmt.Errorf("%q is not an agent's name", name))
			return
		}
		out, err := d.Output(r.Context(), name)
		writeResult(w, out, err)
	})
	return mux
}

type refusal struct {
	Error string `json:"error"`
}

func writeResult(w http.ResponseWriter, v any, err error) {
	if err != nil {
		writeJSON(w, http.StatusBadRequest, refusal{err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, v)
}
