package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// serveBare is what ops-meta is compared with: net/http, which reads and
// decodes the same report and writes the same bytes, and nothing else.
func serveBare(address, replyFile string) error {
	reply, err := os.ReadFile(replyFile)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address) //nolint:noctx // the process ends with it
	if err != nil {
		return err
	}
	length := strconv.Itoa(len(reply))
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return // ready
		}
		body, err := io.ReadAll(r.Body)
		var report meta.HeartbeatRequest
		if err == nil {
			err = json.Unmarshal(body, &report)
		}
		if err != nil || report.Hostname == "" {
			http.Error(w, "body format error", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(reply)
	})}
	return srv.Serve(l)
}
