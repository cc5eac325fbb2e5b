package server

import (
	"context"
	"os"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
)

// care examines and saves a running server.
type care struct{ *Server }

// Doctor looks at everything that can be wrong with a server.
func (s care) Doctor(ctx context.Context) []api.Check {
	checks := append(s.store.Check(ctx), checkSecret(s.conf.path(backend.AdminTokenFile)), checkSpace(s.conf.Data))
	checks = append(checks, s.checkSettings()...)
	checks = append(checks, s.checkPublicURL(ctx))
	checks = append(checks, s.backend.CheckKeys()...)
	checks = append(checks, s.backend.CheckProvider(ctx)...)
	checks = append(checks, s.backend.CheckFleet(), s.backend.CheckStandstill(), s.backend.CheckJumps(), s.backend.CheckHostClocks(), s.backend.CheckAdmins(ctx), s.backend.CheckContents(ctx))
	return checks
}

// checkSecret makes sure that nobody else reads the first token.
func checkSecret(path string) api.Check {
	info, err := os.Lstat(path)
	odd := plainfile.Check(path)
	switch {
	case err != nil:
		return api.Checkf("admin token", api.CheckOK, "", "no file with it is left")
	case odd != nil:
		return api.Checkf("admin token", api.CheckError, "remove it", "%v", odd)
	case info.Mode().Perm()&0o077 != 0:
		return api.Checkf("admin token", api.CheckError, "chmod 600 "+path, "%s can be read by others", path)
	}
	return api.Checkf("admin token", api.CheckOK, "", "%s is for its owner only", path)
}

func (s care) checkSettings() []api.Check {
	checks := []api.Check{api.Checkf("TLS", api.CheckOK, "", "on")}
	if !s.servesTLS() {
		checks[0] = api.Checkf("TLS", api.CheckWarning, "give --tls-cert and --tls-key, or put a proxy with TLS before it", "off: tokens travel in the clear")
	}
	if s.conf.Heartbeats == HeartbeatsOpen {
		return append(checks, api.Checkf("heartbeats", api.CheckWarning, "on an untrusted network: --heartbeats credential", "open: anybody may report as any host"))
	}
	return append(checks, api.Checkf("heartbeats", api.CheckOK, "", "each host needs its credential"))
}
