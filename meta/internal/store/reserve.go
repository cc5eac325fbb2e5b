package store

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// GrantRequest asks for a rollout's grant to one host. A limit of 0 is none.
type GrantRequest struct {
	Rollout  string
	Host     string
	Stage    int       // that the grant counts for
	Now      time.Time // when it is granted
	Deadline time.Time // by when the host must be judged

	TotalLimit  int           // grants of the rollout, all stages together
	StageLimit  int           // grants that count for Stage
	MaxInFlight int           // grants of the rollout that are not yet judged
	RateHosts   int           // grants of the rollout in any RatePeriod
	RatePeriod  time.Duration // with RateHosts
	Exclusive   bool          // refuse while another rollout's exclusive grant to the host is not judged
	Events      []api.Event   // stored with the grant
}

// Why a request was refused: the Reason of the grant that was not made.
const (
	RefusedState    = "not-running"   // the rollout is not running, or not yet at that stage
	RefusedTotal    = "limit"         // TotalLimit or StageLimit is reached
	RefusedInFlight = "max-in-flight" // MaxInFlight is reached
	RefusedRate     = "rate"          // RateHosts is reached
	RefusedBusy     = "host-busy"     // another rollout changes the host
)

// ReserveGrant lets a host have a rollout's target if every limit allows it,
// compared while the rollout is locked, as [Store.Steer] does it. granted is
// only true once the grant is durable. A host that has the rollout's grant
// already gets it again. A refusal is not an error: granted is false and
// g.Reason says why.
//
// Only a rollout that is running, and has come to the stage, grants: whoever
// paused it knows that nothing is granted from then on.
func (s *Store) ReserveGrant(ctx context.Context, r GrantRequest) (granted bool, g api.Grant, err error) {
	g, err = s.Grant(ctx, r.Rollout, r.Host)
	if err == nil || api.KindOf(err) != api.KindNotFound {
		return err == nil, g, err
	}
	g = api.Grant{
		Rollout: r.Rollout, Host: r.Host, Stage: r.Stage,
		Granted: fromMicros(micros(r.Now)), Deadline: fromMicros(micros(r.Deadline)),
	}
	_, err = s.Steer(ctx, api.Actor{}, r.Rollout, func(tx *Tx, ro api.Rollout) error {
		g.Reason, err = tx.reserve(ctx, r, g, ro)
		return err
	})
	switch api.KindOf(err) {
	case api.KindExists: // another replica granted it meanwhile
		g, err = Reader{q: s.writer}.Grant(ctx, r.Rollout, r.Host)
		return err == nil, g, err
	case api.KindConflict:
		g.Reason = RefusedBusy
		return false, g, nil
	}
	return err == nil && g.Reason == "", g, err
}

func (tx *Tx) reserve(ctx context.Context, r GrantRequest, g api.Grant, ro api.Rollout) (refused string, err error) {
	if _, err := tx.Grant(ctx, r.Rollout, r.Host); err == nil {
		return "", &api.Error{Kind: api.KindExists, Message: "granted already"}
	}
	if why := r.refuse(ro); why != "" {
		return why, nil
	}
	if r.RateHosts > 0 {
		n, err := tx.RecentGrants(ctx, r.Rollout, r.Now.Add(-r.RatePeriod))
		if err != nil || n >= r.RateHosts {
			return RefusedRate, err
		}
	}
	if err := tx.PutGrant(ctx, g, r.Exclusive); err != nil {
		return "", err
	}
	return "", fault("write events", insertEvents(ctx, tx.q, r.Events))
}

func (r GrantRequest) refuse(ro api.Rollout) string {
	var total, flying, stage int
	for i, p := range ro.Progress {
		total += p.Granted
		flying += p.Granted - p.Succeeded - p.Failed
		if i == r.Stage {
			stage = p.Granted
		}
	}
	switch {
	case ro.State != api.RolloutRunning || ro.Stage < r.Stage:
		return RefusedState
	case r.TotalLimit > 0 && total >= r.TotalLimit, r.StageLimit > 0 && stage >= r.StageLimit:
		return RefusedTotal
	case r.MaxInFlight > 0 && flying >= r.MaxInFlight:
		return RefusedInFlight
	}
	return ""
}
