package updater

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
)

// checkCredential tells whether a server takes the heartbeats of this host.
func checkCredential(c config.Config, p meta.ProbeResult) []Finding {
	switch {
	case p.Refused():
		cause, mend := explainRefused(c, p)
		return []Finding{{
			Name: "credential", Verdict: VerdictWarn, Mend: mend,
			Detail: fmt.Sprintf("%s does not take this host's heartbeats: %s (HTTP %d: %s)", p.Server, cause, p.Status, p.Message),
		}}
	case c.Token != "":
		return []Finding{{Name: "credential", Verdict: VerdictOK, Detail: "taken by " + p.Server}}
	}
	return nil
}

// explainRefused is the cause and the next step of a refusal.
func explainRefused(c config.Config, p meta.ProbeResult) (cause, mend string) {
	const enrol = "on a machine with an admin token, say “ops-meta token create NAME --role enroll”; put what it prints into a file here, and say “ops-updater -c %s enroll --token-file FILE”"
	mend = fmt.Sprintf(enrol, c.Path)
	switch {
	case p.Status == http.StatusProxyAuthRequired:
		return "a proxy on the way wants a user and a password", "set proxy to http://USER:PASSWORD@HOST:PORT, or let the proxy pass this host"
	case c.Token == "":
		return "no credential is configured", mend
	case strings.Contains(p.Message, "role enroll"):
		return "the token in " + c.Path + " is an enrolment token, which only fetches credentials",
			fmt.Sprintf("make token or token_file enroll_token or enroll_token_file in %s: the sidecar exchanges it for this host's own credential", c.Path)
	case strings.Contains(p.Message, "token of the role"):
		return "the token in " + c.Path + " is an operator's, and each host has a credential of its own", mend
	case p.Status == http.StatusForbidden:
		return "the credential is another host's, or this host was renamed: it calls itself " + c.Hostname, "set hostname to the name it was enrolled by, or enrol it again: " + mend
	}
	return "the credential is unknown, expired or was revoked", "enrol the host again: " + mend
}
