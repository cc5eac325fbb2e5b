package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// PathEnrol is where a server exchanges an enrolment token for a host's own credential.
const PathEnrol = "/api/v1/enroll"

// Enrolment asks for a host's credential with an enrolment token.
type Enrolment struct {
	Hostname string `json:"hostname"`
}

// Credential is a host's own bearer token, shown once.
type Credential struct {
	Hostname string `json:"hostname"`
	Secret   string `json:"secret"`
}

// enrolTries is how often a server that does not answer is asked again at once: the reply
// that got lost may have held the credential, which the server gives again for a while.
const enrolTries = 3

// Enrol exchanges the client's token, an enrolment token, for the credential of the host
// that is called hostname. Servers are asked in order, until one says yes or no. The error
// is a [BeatError], or joins one for each server.
func (c *Client) Enrol(ctx context.Context, hostname string) (Credential, error) {
	body, err := json.Marshal(Enrolment{Hostname: hostname})
	if err != nil {
		return Credential{}, err
	}
	var failed []error
	for _, s := range c.servers {
		got, err := c.enrolAt(ctx, s.base, body)
		for tries := 1; tries < enrolTries && err != nil && err.Status == 0 && ctx.Err() == nil; tries++ {
			wait := time.NewTimer(time.Second << tries)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
			}
			got, err = c.enrolAt(ctx, s.base, body)
		}
		if err == nil {
			if got.Hostname != hostname || got.Secret == "" {
				return Credential{}, &BeatError{Server: s.base, Status: http.StatusCreated, Err: fmt.Errorf("it gave no credential for %s", hostname)}
			}
			return got, nil
		}
		if failed = append(failed, err); err.Status != 0 && err.Status < http.StatusInternalServerError && err.Status != http.StatusTooManyRequests {
			break // it has said no, and the others share what it knows
		}
	}
	return Credential{}, errors.Join(failed...)
}

func (c *Client) enrolAt(ctx context.Context, base string, body []byte) (Credential, *BeatError) {
	response, err := c.http.R().SetContext(ctx).SetHeader("Content-Type", "application/json").SetBody(body).Post(base + PathEnrol)
	if response != nil && response.RawBody() != nil {
		defer func() { _ = response.RawBody().Close() }()
	}
	if err != nil {
		return Credential{}, &BeatError{Server: base, Err: err}
	}
	status := response.StatusCode()
	data, err := readReply(response.RawBody())
	if err != nil {
		return Credential{}, &BeatError{Server: base, Err: fmt.Errorf("cannot read the reply: %w", err)}
	}
	if status != http.StatusCreated {
		return Credential{}, &BeatError{
			Server: base, Status: status, RetryAfter: retryAfter(response.Header(), time.Now()),
			Err: fmt.Errorf("HTTP %d: %s", status, refusalText(data)),
		}
	}
	var got Credential
	if err := json.Unmarshal(data, &got); err != nil {
		return Credential{}, &BeatError{Server: base, Status: status, Err: fmt.Errorf("cannot read the reply: %w", err)}
	}
	return got, nil
}
