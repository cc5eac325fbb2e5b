package server_test

import (
	"fmt"
	"html"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// Fields of a report that do not go all the way, and why.
var (
	notKept = map[string]string{
		"RealAgent.Timestamp":         "the server goes by its own clock",
		"HeartbeatRequest.SerialMark": "it is compared, not shown",
		"HeartbeatRequest.RealAgents": "compared one by one",
	}
	notStored = map[string]string{
		"RealAgent.DesiredVersion": "an echo of what the server said",
		"RealAgent.Rollout":        "an echo of what the server said",
	}
	notOnThePage = map[string]string{
		"HeartbeatRequest.BootID":   "it tells two hosts under one name apart, for the server",
		"HeartbeatRequest.Protocol": "it decides whether a host can be steered, for the server",
	}
)

// shownAs is how the page shows a field otherwise than by its value.
var shownAs = map[string]string{
	"RealAgent.Phase":           "probation",
	"RealAgent.Progress":        `<progress value="0.5"`,
	"RealAgent.Since":           "2033-05-18T03:33:20Z",
	"RealAgent.Held":            ">held</span>",
	"RealAgent.Orphaned":        ">orphaned</span>",
	"HeartbeatRequest.Labels":   "room=7",
	"HeartbeatRequest.Trust":    "releases require with 00000000000000A1, configs warn, replies require with 00000000000000B2, epoch 3, root key 00000000000000C3",
	"HeartbeatRequest.BootTime": "2026-01-02T03:04:05Z",
}

// valid is what a field can hold that cannot hold its own name.
var valid = map[string]any{
	"HeartbeatRequest.IP":       "192.0.2.7",
	"HeartbeatRequest.Arch":     "linux_arm64",
	"HeartbeatRequest.Labels":   map[string]string{"room": "7"},
	"HeartbeatRequest.BootTime": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix(),
	"HeartbeatRequest.Protocol": meta.Protocol,
	"HeartbeatRequest.Trust": &meta.TrustReport{
		Releases: meta.TrustRequire, Configs: meta.TrustWarn, Desired: meta.TrustRequire, Epoch: 3,
		Keys: []string{"00000000000000A1"}, Servers: []string{"00000000000000B2"}, Roots: []string{"00000000000000C3"},
		Refused: "it is older than one that was acted on", Reason: "serial-back", Since: 1_700_000_000,
	},
	"RealAgent.Status":   meta.StatusStarted,
	"RealAgent.Phase":    meta.PhaseProbation,
	"RealAgent.Since":    int64(2_000_000_000),
	"RealAgent.Progress": 0.5,
}

// filled is a T with something in every field, which names the field.
func filled[T any](t *testing.T) (v T) {
	t.Helper()
	each(&v, func(path string, field reflect.Value) {
		if known, ok := valid[path]; ok {
			field.Set(reflect.ValueOf(known))
			return
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(strings.ReplaceAll("the-"+path, ".", "-"))
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Int64:
			field.SetInt(1_700_000_000)
		case reflect.Slice: // of agents, filled by themselves
		default:
			t.Fatalf("%s is a %s: say in valid what it can hold", path, field.Kind())
		}
	})
	return v
}

func each[T any](v *T, do func(path string, field reflect.Value)) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		do(s.Type().Name()+"."+s.Type().Field(i).Name, s.Field(i))
	}
}

// A new field of a report is followed through decoding, memory, the database,
// the API and the page.
func TestEveryFieldOfAReportReachesThePage(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		beat := filled[meta.HeartbeatRequest](t)
		beat.RealAgents = []meta.RealAgent{filled[meta.RealAgent](t)}
		if _, status := r.heartbeat(t, "", beat); status != http.StatusOK {
			t.Fatalf("the report got %d", status)
		}
		name := beat.Hostname
		host := hostOf(t, r, name)
		sameFields(t, "the API", &beat, host, notKept)
		sameFields(t, "the API", &beat.RealAgents[0], host.Agents[0], notKept)
		page := html.UnescapeString(string(r.page(t, r.token, "/hosts/"+name).body))
		onPage(t, page, &beat)
		onPage(t, page, &beat.RealAgents[0])
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		again := hostOf(t, start(t, conf), name)
		sameFields(t, "the restarted server", &beat, again, notKept)
		sameFields(t, "the restarted server", &beat.RealAgents[0], again.Agents[0], notKept, notStored)
	})
}

func hostOf(t *testing.T, r *running, name string) api.Host {
	t.Helper()
	h, err := r.admin.Host(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sameFields compares the fields of what was sent with those of the same name.
func sameFields[T any](t *testing.T, where string, sent *T, got any, but ...map[string]string) {
	t.Helper()
	each(sent, func(path string, field reflect.Value) {
		for _, known := range but {
			if known[path] != "" {
				return
			}
		}
		_, name, _ := strings.Cut(path, ".")
		if name == "Hostname" {
			name = "Name"
		}
		f := reflect.ValueOf(got).FieldByName(name)
		if !f.IsValid() {
			t.Errorf("%T has no %s: take it over in api.Reported, or say in notKept why not", got, name)
		} else if fmt.Sprint(f) != fmt.Sprint(field) {
			t.Errorf("%s says %s %v, sent was %v", where, path, f, field)
		}
	})
}

func onPage[T any](t *testing.T, page string, sent *T) {
	t.Helper()
	each(sent, func(path string, field reflect.Value) {
		if notKept[path] != "" || notOnThePage[path] != "" {
			return
		}
		text, ok := shownAs[path]
		if !ok {
			text = field.String()
		}
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %s, as %q", path, text)
		}
	})
}
