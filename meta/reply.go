package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/internal/jsonbound"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Limits on the shape of a reply, checked before memory is spent on it.
const (
	maxReplyDepth  = 16
	maxReplyAgents = 1000
)

// DecodeReply reads the body of a successful reply. A broken reply, an error
// of the server's and success:false are errors; one broken agent is set aside
// with its reason and leaves the others alone. Of an agent listed twice the
// first counts.
func DecodeReply(data []byte) (HeartbeatResponse, []Rejected, error) {
	if err := jsonbound.Check(data, jsonbound.Limits{Depth: maxReplyDepth}); err != nil {
		return HeartbeatResponse{}, nil, fmt.Errorf("the reply is %w", err)
	}
	var r struct {
		HeartbeatResponse
		DesiredAgents json.RawMessage `json:"desiredAgents"` // in place of the embedded one
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return HeartbeatResponse{}, nil, fmt.Errorf("the reply is not a heartbeat's: %w", err)
	}
	if err := refusedError(r.HeartbeatResponse); err != nil {
		return HeartbeatResponse{}, nil, err
	}
	if r.DesiredAgents == nil {
		return HeartbeatResponse{}, nil, errors.New("the reply has no desiredAgents")
	}
	agents, rejected, err := decodeAgents(r.DesiredAgents)
	if err != nil {
		return HeartbeatResponse{}, nil, err
	}
	r.HeartbeatResponse.DesiredAgents = agents
	return r.HeartbeatResponse, rejected, nil
}

func refusedError(r HeartbeatResponse) error {
	switch {
	case r.ErrorMessage != "":
		return fmt.Errorf("the server says: %s", oneLine(r.ErrorMessage))
	case r.Success != nil && !*r.Success:
		return fmt.Errorf("the server refused: %s", oneLine(r.Message))
	}
	return nil
}

// decodeAgents reads the list one by one, so that a hostile list costs no more
// than its limit.
func decodeAgents(list json.RawMessage) ([]DesiredAgent, []Rejected, error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	switch tok, err := dec.Token(); {
	case err != nil:
		return nil, nil, fmt.Errorf("cannot read desiredAgents: %w", err)
	case tok == nil:
		return nil, nil, nil
	case tok != json.Delim('['):
		return nil, nil, errors.New("desiredAgents is neither a list nor null")
	}
	var agents []DesiredAgent
	var rejected []Rejected
	seen := map[string]bool{}
	for n := 1; dec.More(); n++ {
		if n > maxReplyAgents {
			return nil, nil, fmt.Errorf("the reply lists more than %d agents", maxReplyAgents)
		}
		a, err := decodeAgent(dec)
		switch {
		case err != nil:
			rejected = append(rejected, Rejected{Name: printable.Clip(a.Name), Reason: err.Error()})
		case seen[a.Name]:
			rejected = append(rejected, Rejected{Name: a.Name, Reason: "listed twice in one reply; the first entry counts"})
		default:
			seen[a.Name] = true
			agents = append(agents, a)
		}
	}
	return agents, rejected, nil
}

func decodeAgent(dec *json.Decoder) (DesiredAgent, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return DesiredAgent{}, err
	}
	var a DesiredAgent
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("its entry is not an agent's: %w", err)
	}
	return a, a.Validate()
}

// statement is what a reply says of itself.
func (r HeartbeatResponse) statement() trust.Statement {
	said := trust.Statement{Host: r.Host, Epoch: r.Epoch, Serial: r.Serial, List: r.KeyList}
	if r.Expires > 0 {
		said.Expires = time.Unix(r.Expires, 0)
	}
	return said
}
