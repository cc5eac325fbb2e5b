package plan_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

var (
	fuzzNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	here    = plan.Place{WorkDir: "/opt/agents", RunUser: "root"}
)

// FuzzJournal: whatever a journal says, the next step has a reason, is the same when
// asked again, and a journal that was made to fit the clock fits it.
func FuzzJournal(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","last":{"phase":"idle"}}`,
		`{"name":"a","previous":"1","txn":{"act":"upgrade","from":{"version":"1"},"to":{"version":"2"},"phase":"starting"},"last":{}}`,
		`{"name":"a","blocks":[{"key":"k","until":"9999-01-01T00:00:00Z","quarantine":true,"failures":9000000}],"crash":{"starts":-5,"until":"9999-01-01T00:00:00Z"},"last":{}}`,
		`{"txn":{"phase":"dancing"}}`, `{}`,
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, started bool) {
		var r plan.Record
		if json.Unmarshal(data, &r) != nil {
			return
		}
		once := r.AsOf(fuzzNow)
		if again := once.AsOf(fuzzNow); !reflect.DeepEqual(once, again) {
			t.Fatalf("%s: %+v, and again %+v", data, once, again)
		}
		if once.Last.Since.After(fuzzNow) || once.Crash.Last.After(fuzzNow) || once.Crash.Until.After(fuzzNow.Add(time.Hour)) {
			t.Fatalf("%s is of the future: %+v", data, once)
		}
		word := meta.StatusStopped
		if started {
			word = meta.StatusStarted
		}
		s := plan.Situation{
			Name: "a", At: here, Journal: once, Now: fuzzNow,
			Wish: plan.Wish{Agent: meta.DesiredAgent{Name: "a", Version: "2", Cmd: meta.CmdStart, Tarball: "http://h"}, Place: here, Dialect: meta.DialectV1, Listed: true},
			Seen: plan.Observation{Version: "1", Complete: true, Versions: []string{"1"}, Status: status.Status{Word: word}, At: fuzzNow},
		}
		step := plan.Next(s)
		if step.Agent != "a" || step.Act == "" || step.Reason == "" {
			t.Fatalf("%s: %+v", data, step)
		}
		if again := plan.Next(s); !reflect.DeepEqual(step, again) {
			t.Fatalf("%s: %+v, and again %+v", data, step, again)
		}
		if r.Txn != nil && step.Act.Replaces() {
			t.Fatalf("%s: something else is begun with a transaction half done: %+v", data, step)
		}
		if !s.Wish.Listed && step.Act.Replaces() {
			t.Fatalf("%s: what is not listed is replaced: %+v", data, step)
		}
	})
}

// FuzzHold: a hold that was read has not begun in the future, and ends when it would.
func FuzzHold(f *testing.F) {
	f.Add([]byte(`{"reason":"x","since":"2030-01-01T00:00:00Z","until":"2030-01-02T00:00:00Z"}`))
	f.Add([]byte(`{"since":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"since":"9999-12-31T23:59:59Z","until":"0001-01-02T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h plan.Hold
		if json.Unmarshal(data, &h) != nil {
			return
		}
		once := h.AsOf(fuzzNow)
		if once.Since.After(fuzzNow) || !reflect.DeepEqual(once, once.AsOf(fuzzNow)) {
			t.Fatalf("%s became %+v", data, once)
		}
	})
}

// FuzzWishes: a stored reply makes at most one wish for each name, and follows none
// that is not valid.
func FuzzWishes(f *testing.F) {
	f.Add([]byte(`{"agents":[{"name":"a","version":"1","cmd":"start","tarball":"http://h"},{"name":"a","version":"2"}],"dialect":"v1"}`))
	f.Add([]byte(`{"agents":[{"name":"../a","version":"1"}],"refused":[{"name":"b"}]}`))
	f.Add([]byte(`{"agents":[{"name":"a","version":"1","cmd":"start","workDir":"/opt/agents/b"},{"name":"b","version":"1","cmd":"start"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d plan.Desired
		if json.Unmarshal(data, &d) != nil {
			return
		}
		if !d.Equal(d) {
			t.Fatalf("%s is not the same as itself", data)
		}
		for name, w := range plan.Wishes(d, here, "/var/ops-updater") {
			if w.Refused == "" && w.Listed && (w.Agent.Validate() != nil || w.Agent.Name != name) {
				t.Fatalf("%s makes %+v of %q", data, w, name)
			}
			if w.Refused == "" && w.Listed && w.Place.WorkDir == "" {
				t.Fatalf("%s puts %q nowhere", data, name)
			}
		}
	})
}
