package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
)

// maxOrder bounds what the socket reads.
const maxOrder = 64 << 10

// Listen opens the socket in dir for its owner alone. A socket that a killed
// sidecar left behind is replaced; the caller holds the lock of dir.
func Listen(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, SocketName)
	if err := clearWay(path); err != nil {
		return nil, err
	}
	var l net.Listener
	err := shortPath(path, func(short string) error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", short)
		return err
	})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the socket %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return &socket{Listener: l, path: path}, nil
}

// clearWay removes a socket that was left, and sets anything else aside.
func clearWay(path string) error {
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode()&fs.ModeSocket == 0 {
		err = plainfile.SetAside(path, &plainfile.Error{Path: path, Why: "it is " + plainfile.Kind(fi.Mode())})
		if _, moved := errors.AsType[*plainfile.AsideError](err); moved {
			return nil
		}
	} else if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the socket: %w", err)
	}
	return nil
}

// socket removes its file by the path it was asked for, not the short one.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Close() error {
	_ = os.Remove(s.path)
	return s.Listener.Close()
}

// Socket is the handler behind the unix socket.
func Socket(d Daemon) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, d.Status(r.Context()))
	})
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, r *http.Request) {
		plan, err := d.Plan(r.Context())
		result(w, plan, err)
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
		result(w, struct{}{}, err)
	})
	mux.HandleFunc("POST /beat", func(w http.ResponseWriter, r *http.Request) {
		h, err := d.Beat(r.Context())
		result(w, h, err)
	})
	mux.HandleFunc("POST /settle", func(w http.ResponseWriter, r *http.Request) {
		result(w, struct{}{}, d.Settle(r.Context()))
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		reloaded, err := d.Reload(r.Context())
		result(w, reloaded, err)
	})
	mux.HandleFunc("GET /output", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("agent")
		if !meta.ValidName(name) {
			result(w, nil, fmt.Errorf("%q is not an agent's name", name))
			return
		}
		out, err := d.Output(r.Context(), name)
		result(w, out, err)
	})
	return mux
}

type refusal struct {
	Error string `json:"error"`
}

func result(w http.ResponseWriter, v any, err error) {
	if err != nil {
		writeJSON(w, http.StatusBadRequest, refusal{err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, v)
}
