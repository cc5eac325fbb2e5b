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

// Host is the notice of something that a host's timeline tells. The event is
// api.NotifyHostSilent or NotifyHostReturned.
func Host(event string, e api.Event, base string) api.Notice {
	n := api.Notice{
		ID: stampOf(event, e.Host, e.Time), Event: event, Time: e.Time, Host: e.Host,
		Reason: e.Kind, Message: fmt.Sprintf("%s %s", e.Host, hostVerbs[event]),
	}
	if e.Message != "" {
		n.Message += ": " + e.Message
	}
	if base != "" {
		n.Link = strings.TrimRight(base, "/") + "/hosts/" + e.Host
	}
	return n
}

// timelineNotices are the lines of timelines that somebody may want to know.
var timelineNotices = map[string]string{api.EventSilent: api.NotifyHostSilent, api.EventReturned: api.NotifyHostReturned}

// Hosts are the notices of what timelines tell: one for each host that went
// silent or came back, or one for all of them if they are many.
func Hosts(events []api.Event, base string) []api.Notice {
	var out []api.Notice
	same := map[string][]api.Notice{}
	for _, e := range events {
		if event, ok := timelineNotices[e.Kind]; ok {
			same[event] = append(same[event], Host(event, e, base))
		}
	}
	for _, event := range slices.Sorted(maps.Keys(same)) {
		if notices := same[event]; len(notices) > aloneUpTo {
			out = append(out, digestOf(notices))
		} else {
			out = append(out, notices...)
		}
	}
	return out
}

var hostVerbs = map[string]string{
	api.NotifyHostFailed: "failed", api.NotifyHostSilent: "went silent", api.NotifyHostReturned: "came back",
}

// stampOf identifies what a notice tells of, the same on every replica.
func stampOf(kind, name string, at time.Time) string {
	return kind + "/" + name + "/" + strconv.FormatInt(at.UnixMicro(), 10)
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

// digestOf makes one notice of several that differ only by their host.
func digestOf(notices []api.Notice) api.Notice {
	d := notices[0]
	d.Host, d.Hosts, d.Link, d.Count = "", nil, "", 0
	for _, n := range notices {
		hosts := n.Hosts
		if n.Count == 0 {
			n.Count, hosts = 1, []string{n.Host}
		}
		d.Count += n.Count
		d.Hosts = append(d.Hosts, hosts[:min(len(hosts), namedUpTo-len(d.Hosts))]...)
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

// troubleOf is what hosts have in common when one notice can tell of them all;
// empty for notices that stand alone.
func troubleOf(n api.Notice) string {
	if _, ok := hostVerbs[n.Event]; !ok {
		return ""
	}
	return strings.Join([]string{n.Event, n.Agent, n.Version, n.Rollout}, "\x00")
}
