package notify

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Rollout is the notice of a rollout's transition. base is the page's
// address, or empty.
func Rollout(r api.Rollout, t api.Transition, base string) api.Notice {
	n := api.Notice{
		ID: stamp("rollout", r.ID, t.Time, string(t.To), strconv.Itoa(t.Stage)), Event: api.NotifyRollout + string(t.To), Time: t.Time,
		Agent: r.Agent, Version: r.Version, Rollout: r.ID, From: string(t.From), To: string(t.To),
		Stage: t.Stage, Actor: t.Actor, Reason: t.Reason, Message: t.Message, Progress: r.Progress,
	}
	if n.Message == "" {
		n.Message = fmt.Sprintf("rollout of %s %s: %s → %s (%s)", r.Agent, r.Version, t.From, t.To, t.Reason)
	}
	if base != "" {
		n.Link = strings.TrimRight(base, "/") + "/rollouts/" + r.ID
	}
	return n
}

// Host is the notice of something that happened to a host. The event is one
// of api.NotifyHostFailed, NotifyHostSilent and NotifyHostReturned; e says
// what happened.
func Host(event string, e api.Event, base string) api.Notice {
	n := api.Notice{
		ID: stamp(event, e.Host, e.Time, e.Agent, e.To), Event: event, Time: e.Time, Host: e.Host, Agent: e.Agent,
		Rollout: e.Rollout, From: e.From, To: e.To, Reason: e.Kind, Message: e.Message,
	}
	if event == api.NotifyHostFailed {
		n.Version = e.To
	}
	if n.Message == "" {
		n.Message = fmt.Sprintf("%s %s", e.Host, hostVerbs[event])
	}
	if base != "" {
		n.Link = strings.TrimRight(base, "/") + "/hosts/" + e.Host
	}
	return n
}

// Hosts are the notices of the same thing that happened to several hosts at
// once: one for each, or one for all if they are many.
func Hosts(event string, events []api.Event, base string) []api.Notice {
	var out []api.Notice
	same := map[string][]api.Notice{}
	for _, e := range events {
		n := Host(event, e, base)
		same[trouble(n)] = append(same[trouble(n)], n)
	}
	for _, key := range slices.Sorted(maps.Keys(same)) {
		if notices := same[key]; len(notices) > aloneUpTo {
			out = append(out, digest(notices))
		} else {
			out = append(out, notices...)
		}
	}
	return out
}

var hostVerbs = map[string]string{
	api.NotifyHostFailed: "failed", api.NotifyHostSilent: "went silent", api.NotifyHostReturned: "came back",
}

// stamp identifies what a notice tells of, the same on every replica.
func stamp(kind, name string, at time.Time, more ...string) string {
	return strings.Join(append([]string{kind, name, strconv.FormatInt(at.UnixMicro(), 10)}, more...), "/")
}

// Owed is a notice as the outbox keeps it until it is distributed.
func Owed(n api.Notice) (api.Notification, error) {
	payload, err := json.Marshal(n)
	if err != nil {
		return api.Notification{}, fmt.Errorf("cannot encode notice %s: %w", n.ID, err)
	}
	return api.Notification{Kind: n.Event, Payload: payload}, nil
}

// For is a notice as the outbox keeps it for each webhook or mail address of a
// target, whether or not the target asked for it.
func For(t api.NotifyTarget, n api.Notice) ([]api.Notification, error) {
	owed, err := Owed(n)
	if err != nil {
		return nil, err
	}
	if t.Kind != api.NotifyMail {
		owed.Target = t.Name
		return []api.Notification{owed}, nil
	}
	var out []api.Notification
	for _, address := range t.Addresses {
		owed.Target = t.Name + "/" + address
		out = append(out, owed)
	}
	return out, nil
}

// Wants tells whether a target has asked for a notice.
func Wants(t api.NotifyTarget, n api.Notice) bool {
	if t.Disabled || len(t.Agents) > 0 && !slices.Contains(t.Agents, n.Agent) {
		return false
	}
	if len(t.Events) == 0 {
		return true
	}
	return slices.ContainsFunc(t.Events, func(e string) bool {
		return e == n.Event || strings.HasSuffix(e, ".") && strings.HasPrefix(n.Event, e)
	})
}

// Limits of a notice that tells of several hosts.
const (
	aloneUpTo = 3  // hosts that still get a notice each
	namedUpTo = 20 // hosts that are named in one
)

// digest makes one notice of several that differ only by their host.
func digest(notices []api.Notice) api.Notice {
	d := notices[0]
	d.Host, d.Link, d.Count = "", "", len(notices)
	for _, n := range notices {
		if len(d.Hosts) < namedUpTo {
			d.Hosts = append(d.Hosts, n.Host)
		}
		if n.Time.After(d.Time) {
			d.Time = n.Time
		}
	}
	named := strings.Join(d.Hosts, ", ")
	if d.Count > len(d.Hosts) {
		named += ", …"
	}
	what := hostVerbs[d.Event]
	if d.Agent != "" {
		what += strings.TrimRight(" with "+d.Agent+" "+d.Version, " ")
	}
	d.Message = fmt.Sprintf("%d hosts %s: %s", d.Count, what, named)
	return d
}

// trouble is what hosts have in common when one notice can tell of them all;
// empty for notices that stand alone.
func trouble(n api.Notice) string {
	if _, ok := hostVerbs[n.Event]; !ok || n.Host == "" {
		return ""
	}
	return strings.Join([]string{n.Event, n.Agent, n.Version, n.Rollout}, "\x00")
}
