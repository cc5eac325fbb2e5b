package local

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"github.com/ops-updater/ops-updater/internal/exposition"
)

// HTTPConfig shapes the local HTTP interface.
type HTTPConfig struct {
	Version string
	WorkDir string
	Pprof   bool
}

// HTTP is the local HTTP interface of the contract.
func HTTP(d Daemon, c HTTPConfig) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { writeText(w, "ok") })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { writeText(w, c.Version) })
	mux.HandleFunc("GET /workdir", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, dto{Msg: "success", Data: c.WorkDir})
	})
	mux.HandleFunc("/config/reload", func(w http.ResponseWriter, r *http.Request) { answerReload(w, r, d) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", exposition.ContentType)
		_ = d.Metrics.write(w, d.Status(r.Context()))
	})
	if c.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// dto is the envelope of the ancestors' local interface.
type dto struct {
	Msg  string `json:"msg"`
	Data any    `json:"data,omitempty"`
}

func answerReload(w http.ResponseWriter, r *http.Request, d Daemon) {
	if !isFromLoopback(r.RemoteAddr) {
		w.WriteHeader(http.StatusForbidden)
		writeText(w, "no privilege")
		return
	}
	reloaded, err := d.Reload(r.Context())
	if err != nil {
		writeJSON(w, http.StatusOK, dto{Msg: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, dto{Msg: "success", Data: reloaded.Config})
}

func isFromLoopback(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

func writeText(w http.ResponseWriter, s string) { _, _ = io.WriteString(w, s) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
