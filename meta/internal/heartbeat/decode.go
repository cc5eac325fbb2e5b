package heartbeat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
)

// Limits are what a report may hold; zero values get the defaults.
type Limits struct {
	Body   int64 // bytes, before and after decompression [1 MiB]
	Depth  int   // of the JSON [16]
	Agents int   // per host [256]
	Labels int   // per host [64]
}

const (
	maxLabel    = 256  // bytes of a label's name or value
	maxShort    = 128  // bytes of versions, users, ids
	maxPath     = 1024 // bytes
	maxText     = 2048 // bytes of a status or an error
	maxNotes    = 10   // problems told of one report
	usualAgents = 4    // room for them, so that it need not grow one by one
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Body: cmp.Or(l.Body, 1<<20), Depth: cmp.Or(l.Depth, 16),
		Agents: cmp.Or(l.Agents, 256), Labels: cmp.Or(l.Labels, 64),
	}
}

// refusal is a report that is not taken, and what its sender is told.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuseWith(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// The words of the older server, which its clients may look for.
var (
	errBlank    = &refusal{http.StatusBadRequest, "body is blank"}
	errFormat   = &refusal{http.StatusBadRequest, "body format error"}
	errHostname = &refusal{http.StatusBadRequest, "hostname is blank"}
)

// Decode reads a report, keeps it within limits, and says what it left out.
// Control scripts end their status with a newline; it is trimmed.
func Decode(body []byte, l Limits) (*meta.HeartbeatRequest, []string, error) {
	l = l.withDefaults()
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil, errBlank
	}
	if err := scanShape(body, l); err != nil {
		return nil, nil, err
	}
	req := meta.HeartbeatRequest{RealAgents: make([]meta.RealAgent, 0, usualAgents)}
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, nil, errors.Join(errFormat, err)
	}
	n := notes{}
	if err := checkHost(&req, &n); err != nil {
		return nil, nil, err
	}
	req.RealAgents = checkAgents(req.RealAgents, &n)
	return &req, n.list, nil
}

// notes gathers what was left out, up to a limit.
type notes struct{ list []string }

func (n *notes) addNote(format string, args ...any) {
	if len(n.list) < maxNotes {
		n.list = append(n.list, fmt.Sprintf(format, args...))
	}
}

func checkHost(req *meta.HeartbeatRequest, n *notes) error {
	req.Hostname = strings.TrimSpace(req.Hostname)
	switch {
	case req.Hostname == "":
		return errHostname
	case !meta.ValidHostname(req.Hostname):
		return refuseWith(http.StatusBadRequest, "hostname %q is not allowed: %s", printable.Clip(req.Hostname), meta.HostnameHelp)
	}
	for k, v := range req.Labels {
		if k == "" || len(k) > maxLabel || len(v) > maxLabel || hasControl(k) || hasControl(v) {
			return refuseWith(http.StatusBadRequest, "label %q is not allowed: name and value are up to %d bytes without control characters", printable.Clip(k), maxLabel)
		}
	}
	if req.Arch != "" && !meta.ValidArch(req.Arch) {
		n.addNote("it reports the arch %q, which is not one such as linux_amd64", printable.ClipTo(req.Arch, 40))
		req.Arch = ""
	}
	checkTrust(req, n)
	for _, s := range []*string{&req.IP, &req.RunUser, &req.UpdaterVersion, &req.BootID, &req.SerialMark} {
		*s = plainText(*s, maxShort)
	}
	return nil
}

const (
	maxKeys  = 64 // of one use that a host reports
	keyIDLen = 16 // hexadecimal digits
)

// checkTrust keeps of what a host verifies what it can verify.
func checkTrust(req *meta.HeartbeatRequest, n *notes) {
	t := req.Trust
	if t == nil {
		return
	}
	for _, mode := range []*meta.TrustMode{&t.Releases, &t.Configs, &t.Desired} {
		switch *mode {
		case "":
			*mode = meta.TrustOff
		case meta.TrustOff, meta.TrustWarn, meta.TrustRequire:
		default:
			n.addNote("it reports the trust mode %q, which is not known", printable.ClipTo(string(*mode), 40))
			*mode = meta.TrustOff
		}
	}
	for _, ids := range []*[]string{&t.Keys, &t.Servers, &t.Roots} {
		known := slices.DeleteFunc(*ids, func(id string) bool { return !isKeyID(id) })
		if len(known) < len(*ids) || len(known) > maxKeys {
			n.addNote("it reports keys by ids that are none, or too many of them")
		}
		*ids = known[:min(len(known), maxKeys)]
	}
	t.Refused, t.Reason = plainText(t.Refused, maxText), plainText(t.Reason, maxShort)
	t.Epoch, t.Since = max(t.Epoch, 0), max(t.Since, 0)
}

func isKeyID(id string) bool {
	return len(id) == keyIDLen && strings.Trim(id, "0123456789ABCDEF") == ""
}

func checkAgents(agents []meta.RealAgent, n *notes) []meta.RealAgent {
	seen := make(map[string]bool, len(agents))
	kept := slices.DeleteFunc(agents, func(a meta.RealAgent) bool {
		switch {
		case !meta.ValidName(a.Name):
			n.addNote("it reports an agent whose name %q is not allowed; it was left out", printable.Clip(a.Name))
			return true
		case seen[a.Name]:
			n.addNote("it reports the agent %s more than once; the first counts", a.Name)
			return true
		}
		seen[a.Name] = true
		return false
	})
	for i := range kept {
		tidyAgent(&kept[i], n)
	}
	return kept
}

var phases = []meta.Phase{
	"", meta.PhaseIdle, meta.PhaseDownloading, meta.PhaseStaging, meta.PhaseStopping, meta.PhaseStarting,
	meta.PhaseProbation, meta.PhaseRollingBack, meta.PhaseRolledBack, meta.PhaseFailed, meta.PhaseHeld,
}

// tidyAgent trims an agent's texts to what may be kept.
func tidyAgent(a *meta.RealAgent, n *notes) {
	if a.Version = strings.TrimSpace(a.Version); a.Version != "" && !meta.ValidName(a.Version) {
		n.addNote("%s reports the version %q, which is not allowed; it counts as none", a.Name, printable.Clip(a.Version))
		a.Version = ""
	}
	if !slices.Contains(phases, a.Phase) {
		n.addNote("%s reports the phase %q, which is not known", a.Name, printable.ClipTo(string(a.Phase), 40))
		a.Phase = ""
	}
	a.Status, a.Error, a.HoldReason = plainText(a.Status, maxText), plainText(a.Error, maxText), plainText(a.HoldReason, maxText)
	a.RunUser, a.WorkDir = plainText(a.RunUser, maxShort), plainText(a.WorkDir, maxPath)
	a.DesiredVersion, a.PreviousVersion = plainText(a.DesiredVersion, maxShort), plainText(a.PreviousVersion, maxShort)
	a.Rollout, a.Reason = plainText(a.Rollout, maxShort), plainText(a.Reason, maxShort)
	a.Progress = min(max(a.Progress, 0), 1)
}

// plainText trims s, makes its control characters blanks and cuts it to size.
func plainText(s string, size int) string {
	s = strings.TrimSpace(s)
	if hasControl(s) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, s)
	}
	return printable.Cut(s, size)
}

func hasControl(s string) bool { return strings.IndexFunc(s, unicode.IsControl) >= 0 }
