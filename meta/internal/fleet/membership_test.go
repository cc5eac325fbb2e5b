package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// grouped is a fleet's wanted state with so many groups, each by a regular
// expression of 320 characters that no host matches, and one by a label.
func grouped(groups int, serial int64, zone string) fleet.Config {
	w := api.Wanted{
		Serial: serial, Agents: []api.Agent{{Name: "a", Description: fmt.Sprint("write ", serial)}},
		Releases: []api.Release{
			{Agent: "a", Version: "1", Artifacts: []api.Artifact{{Arch: "linux_amd64"}}}, {Agent: "a", Version: "2", Artifacts: []api.Artifact{{Arch: "linux_amd64"}}},
		},
		Groups: []api.Group{{Name: "zone", Priority: 5, Selector: api.Selector{Labels: map[string]string{"zone": zone}}}},
		Assignments: []api.Assignment{
			{Agent: "a", Version: "1", Scope: api.Scope{Kind: api.ScopeEveryone}},
			{Agent: "a", Version: "2", Scope: api.Scope{Kind: api.ScopeGroup, Name: "zone"}},
		},
	}
	for i := range groups {
		name := fmt.Sprintf("g%d", i)
		expr := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("(h|o|s)*t%02d.*x|", i), 20), "|")
		w.Groups = append(w.Groups, api.Group{Name: name, Selector: api.Selector{Regexps: []string{expr}}})
		w.Assignments = append(w.Assignments, api.Assignment{Agent: "a", Version: "2", Scope: api.Scope{Kind: api.ScopeGroup, Name: name}})
	}
	return fleet.Config{Wanted: w, PublicURL: "http://meta.example"}
}

func beatOf(host, zone string) fleet.Report {
	body := fmt.Sprintf(`{"hostname":%q,"ip":"10.0.0.1","realAgents":[],"arch":"linux_amd64","labels":{"zone":%q}}`, host, zone)
	return fleet.Report{
		Beat:    fleet.Beat{Dialect: meta.DialectV1, Remote: "10.0.0.1", Body: []byte(body)},
		Request: &meta.HeartbeatRequest{Hostname: host, IP: "10.0.0.1", Arch: "linux_amd64", Labels: map[string]string{"zone": zone}},
	}
}

// What is remembered of a host's groups follows its labels, and the groups.
func TestAHostsGroupsAreAsTheyAreNow(t *testing.T) {
	f := fleet.New(fleet.Options{})
	version := func(want string, r fleet.Report) {
		t.Helper()
		reply, err := f.Report(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(reply.Wanted, func(w fleet.Wanted) bool { return w.Agent == "a" })
		if i < 0 || reply.Wanted[i].Version != want {
			t.Errorf("it is told %+v, want %s", reply.Wanted, want)
		}
	}
	use := func(c fleet.Config) { f.UseSnapshot(fleet.Compile(c, time.Now())) }
	use(grouped(3, 1, "z1"))
	version("2", beatOf("h", "z1"))
	use(grouped(3, 2, "z1"))
	version("2", beatOf("h", "z1"))
	version("1", beatOf("h", "z2")) // its label changes
	use(grouped(3, 3, "z2"))        // the selector does
	version("2", beatOf("h", "z2"))
	use(grouped(5, 4, "z2")) // others come
	version("2", beatOf("h", "z2"))
	use(grouped(0, 5, "z2")) // and go
	version("2", beatOf("h", "z2"))
	without := grouped(2, 6, "z2")
	without.Groups = without.Groups[1:]
	use(without)
	version("1", beatOf("h", "z2"))
	use(grouped(2, 7, "z1"))
	version("1", beatOf("h", "z2"))
	version("2", beatOf("h", "z1"))
}

// roundAfterAWrite is how long a heartbeat of each host takes after a write
// that changes no selector.
func roundAfterAWrite(tb testing.TB, groups, hosts int) time.Duration {
	f := fleet.New(fleet.Options{})
	beats := make([]fleet.Report, hosts)
	f.UseSnapshot(fleet.Compile(grouped(groups, 1, "z1"), time.Now()))
	for i := range beats {
		beats[i] = beatOf(fmt.Sprintf("host-%05d.example.org", i), "z1")
		if _, err := f.Report(context.Background(), beats[i]); err != nil {
			tb.Fatal(err)
		}
	}
	best := time.Hour
	for serial := range 10 {
		f.UseSnapshot(fleet.Compile(grouped(groups, int64(serial+2), "z1"), time.Now()))
		begun := time.Now()
		for i := range beats {
			if _, steady := f.Steady(context.Background(), beats[i].Beat); !steady {
				tb.Fatal("not steady")
			}
		}
		best = min(best, time.Since(begun))
	}
	return best / time.Duration(hosts)
}

// Twelve regular expressions of 320 characters make no heartbeat slower but
// the first one after they are written.
func TestAWriteMatchesNoHostAgain(t *testing.T) {
	without, with := roundAfterAWrite(t, 0, 4000), roundAfterAWrite(t, 12, 4000)
	t.Logf("a heartbeat after a write: %v without expressions, %v with twelve", without, with)
	if with > 5*without {
		t.Errorf("a heartbeat after a write takes %v with twelve expressions, %v without", with, without)
	}
}

func BenchmarkHeartbeatAfterAWrite(b *testing.B) {
	for _, groups := range []int{0, 12} {
		b.Run(fmt.Sprintf("expressions=%d", groups), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(roundAfterAWrite(b, groups, 8000).Nanoseconds()), "ns/heartbeat")
			}
		})
	}
}

func TestASelectorsExpressionsAreBoundedTogether(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("x%d(a|b|c){90}", i)
	}
	_, err := fleet.CompileSelector(api.Selector{Regexps: many})
	if err == nil || !strings.Contains(err.Error(), "more than 20000 steps") {
		t.Errorf("got %v", err)
	}
}
