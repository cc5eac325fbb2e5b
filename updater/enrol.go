package updater

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
)

// ErrRefused is returned where a server answered, and does not take this host's credential.
var ErrRefused = errors.New("this host's credential is refused")

// Enrol exchanges the enrolment token of c for this host's own credential, and keeps it in
// c.CredentialFile, readable for nobody else. A reply that gets lost, also because this
// process ends before it is on disk, is asked for again: the server gives the credential of
// a host that has not used it yet once more, for ten minutes.
func Enrol(ctx context.Context, c config.Config) (string, error) {
	asking := c
	asking.Token = c.EnrolToken
	client, err := newClient(asking, nil)
	if err != nil {
		return "", err
	}
	defer client.Close()
	got, err := client.Enrol(ctx, c.Hostname)
	if err != nil {
		return "", err
	}
	if err := atomicfile.Write(c.CredentialFile(), []byte(got.Secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("cannot keep this host's credential, which the server gives once more within ten minutes: %w", err)
	}
	return got.Secret, nil
}

// TakenBy is the first server of c that takes this host's heartbeats with the credential
// that it has. The error is [ErrRefused] when one said no; otherwise none has answered.
func TakenBy(ctx context.Context, c config.Config) (string, error) {
	client, err := newClient(c, nil)
	if err != nil {
		return "", err
	}
	defer client.Close()
	var failed []error
	for _, p := range client.Probe(ctx, c.Hostname, probeTimeout) {
		if p.Err == nil && !p.Refused() {
			return p.Server, nil
		}
		if p.Refused() {
			cause, _ := explainRefused(c, p)
			p.Err = fmt.Errorf("%w by %s: %s (HTTP %d: %s)", ErrRefused, p.Server, cause, p.Status, p.Message)
		}
		failed = append(failed, p.Err)
	}
	return "", errors.Join(failed...)
}

// enrolFirst gets the credential of a host that has none, where its configuration has an
// enrolment token.
func (b *beat) enrolFirst(ctx context.Context) error {
	if b.config.Token != "" || b.config.EnrolToken == "" {
		return nil
	}
	credential, err := Enrol(ctx, b.config)
	if err != nil {
		return fmt.Errorf("this host cannot be enrolled: %w", err)
	}
	b.log.Info().Str("hostname", b.config.Hostname).Msg("enrolled: this host has a credential of its own")
	enrolled := b.config
	enrolled.Token = credential
	return b.useConfig(enrolled)
}

// ExplainEnrolment adds the next step to a refused enrolment; empty where there is none to
// tell.
func ExplainEnrolment(err error, c config.Config) string {
	refused, ok := errors.AsType[*meta.BeatError](err)
	if !ok {
		return ""
	}
	switch refused.Status {
	case 0:
		return "see that the server runs, and can be reached from here"
	case http.StatusUnauthorized:
		return "the enrolment token is unknown, expired or was revoked: on a machine with an admin token, say “ops-meta token create NAME --role enroll”"
	case http.StatusForbidden:
		return "only an enrolment token can enrol a host: on a machine with an admin token, say “ops-meta token create NAME --role enroll”"
	case http.StatusConflict:
		return "its credential is in use; if it was lost, or another host had this name, say “ops-meta host " + c.Hostname + " --forget” on a machine with an operator's token, and enrol it again"
	case http.StatusNotFound:
		return "what answers there is no ops-meta, or an old one"
	}
	return ""
}
