package server

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
)

// care examines and saves a running server.
type care struct{ *core }

// Doctor looks at everything that can be wrong with a server.
func (s care) Doctor(ctx context.Context) []api.Check {
	checks := append(s.store.Check(ctx), checkSecret(s.conf.path(adminToken)), checkSpace(s.conf.Data))
	checks = append(checks, s.checkSettings()...)
	checks = append(checks, s.checkPublicURL(ctx))
	checks = append(checks, s.checkFleet(), s.checkStandstill(), s.checkJumps(), s.checkHostClocks(), s.checkAdmins(ctx), s.checkContents(ctx))
	return checks
}

func found(name, level, hint, format string, args ...any) api.Check {
	return api.Check{Name: name, Level: level, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// checkSecret makes sure that nobody else reads the first token.
func checkSecret(path string) api.Check {
	info, err := os.Lstat(path)
	odd := plainfile.Check(path)
	switch {
	case err != nil:
		return found("admin token", api.CheckOK, "", "no file with it is left")
	case odd != nil:
		return found("admin token", api.CheckError, "remove it", "%v", odd)
	case info.Mode().Perm()&0o077 != 0:
		return found("admin token", api.CheckError, "chmod 600 "+path, "%s can be read by others", path)
	}
	return found("admin token", api.CheckOK, "", "%s is for its owner only", path)
}

func (s care) checkSettings() []api.Check {
	checks := []api.Check{found("TLS", api.CheckOK, "", "on")}
	if s.conf.TLSCert == "" {
		checks[0] = found("TLS", api.CheckWarning, "give --tls-cert and --tls-key, or put a proxy with TLS before it", "off: tokens travel in the clear")
	}
	if s.conf.Heartbeats == HeartbeatsOpen {
		return append(checks, found("heartbeats", api.CheckWarning, "on an untrusted network: --heartbeats credential", "open: anybody may report as any host"))
	}
	return append(checks, found("heartbeats", api.CheckOK, "", "each host needs its credential"))
}

func (s care) checkFleet() api.Check {
	if problems := s.fleet.Snapshot().Problems(); len(problems) > 0 {
		return found("wanted state", api.CheckError, "mend what it names", "%s", problems[0])
	}
	if n, failing := s.fleet.Backlog(); failing {
		return found("journal", api.CheckError, "look at the database", "the changes of %d hosts wait to be kept", n)
	}
	return found("fleet", api.CheckOK, "", "%d hosts known", s.fleet.Hosts())
}

// checkStandstill says whether hosts are told what is wanted.
func (c *core) checkStandstill() api.Check {
	if st := c.wanted.Load().Standstill; st != nil {
		return found("standstill", api.CheckWarning, "look at the difference with ops-meta standstill, then say ops-meta standstill end",
			"the fleet stands still since %s: %s", st.Since.Format(time.RFC3339), st.Reason)
	}
	return found("standstill", api.CheckOK, "", "hosts are told what is wanted")
}

// checkContents makes sure that what releases name is there.
func (s care) checkContents(ctx context.Context) api.Check {
	missing, all := 0, 0
	for key, a := range s.wanted.Load().artifacts {
		if a.External != "" {
			continue
		}
		all++
		content, err := s.artifacts.Open(ctx, a.SHA256)
		if err != nil {
			missing++
			s.log.Warn().Err(err).Str("agent", key.Agent).Str("version", key.Version).Str("arch", key.Arch).Msg("artifact cannot be opened")
			continue
		}
		_ = content.Close()
	}
	if missing > 0 {
		return found("artifacts", api.CheckError, "restore a backup, or publish them again: the log names them", "%d of %d cannot be opened", missing, all)
	}
	return found("artifacts", api.CheckOK, "", "%d, all there", all)
}
