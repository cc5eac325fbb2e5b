package fleetfile_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

// The file has the shape of the one that the older server ships.
const oldConfig = `{
  "debug": true,
  "http": {"enabled": true, "listen": "0.0.0.0:2000"},
  "agents": [
    {
      "default": {"name": "falcon-agent", "version": "0.0.1", "tarball": "http://11.11.11.11:8888/falcon", "md5": "", "cmd": "start"},
      "others": [
        {"prefix": "lg-falcon", "version": "1.0.0", "tarball": "", "md5": "", "cmd": ""},
        {"prefix": "lg-", "tarball": "http://mirror.lg:8888/falcon/"},
        {"prefix": "lg-dinp", "version": "1.0.1", "tarball": "", "md5": "", "cmd": ""},
        {"prefix": "lg-dinp-0", "cmd": "stop"},
        {"prefix": "lg-dinp-1", "version": "1.0.1"}
      ]
    },
    {"default": {"name": "dinp-agent", "version": "0.0.1", "tarball": "http://11.11.11.11:8888/dinp", "md5": "", "cmd": ""},
     "others": [{"prefix": "lg-falcon", "cmd": "start"}]},
    {"default": {"name": "bad agent", "version": "1", "cmd": "start"}},
    {"default": {"name": "odd", "version": "1", "cmd": "start"}, "others": [{"prefix": "x", "cmd": "reboot"}]},
    {"default": {"name": "dinp-agent", "version": "9", "cmd": "start"}},
    {"others": []}
  ]
}
`

func TestImportTranslatesAndReports(t *testing.T) {
	got, problems := fleetfile.Import([]byte(oldConfig))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	wantFile := `agents:
  - name: dinp-agent
  - name: falcon-agent
groups:
  - name: prefix-lg-
    description: "hosts that begin with \"lg-\""
    priority: 3
    selector:
      prefixes: [lg-]
  - name: prefix-lg-dinp
    description: "hosts that begin with \"lg-dinp\""
    priority: 7
    selector:
      prefixes: [lg-dinp]
  - name: prefix-lg-dinp-0
    description: "hosts that begin with \"lg-dinp-0\""
    priority: 9
    selector:
      prefixes: [lg-dinp-0]
  - name: prefix-lg-falcon
    description: "hosts that begin with \"lg-falcon\""
    priority: 9
    selector:
      prefixes: [lg-falcon]
assignments:
  - agent: dinp-agent
    scope: {kind: group, name: prefix-lg-falcon}
    version: "0.0.1"
  - agent: falcon-agent
    scope: {kind: everyone}
    version: "0.0.1"
  - agent: falcon-agent
    scope: {kind: group, name: prefix-lg-}
    version: "0.0.1"
  - agent: falcon-agent
    scope: {kind: group, name: prefix-lg-dinp}
    version: "1.0.1"
  - agent: falcon-agent
    scope: {kind: group, name: prefix-lg-dinp-0}
    version: "1.0.1"
    cmd: stop
  - agent: falcon-agent
    scope: {kind: group, name: prefix-lg-falcon}
    version: "1.0.0"
`
	if diff := gocmp.Diff(wantFile, string(fleetfile.Export(got.Fleet))); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]api.ImportedRelease{
		{Agent: "dinp-agent", Version: "0.0.1", Tarballs: []string{"http://11.11.11.11:8888/dinp"}},
		{Agent: "falcon-agent", Version: "0.0.1", Tarballs: []string{"http://11.11.11.11:8888/falcon", "http://mirror.lg:8888/falcon"}},
		{Agent: "falcon-agent", Version: "1.0.0", Tarballs: []string{"http://mirror.lg:8888/falcon"}},
		{Agent: "falcon-agent", Version: "1.0.1", Tarballs: []string{"http://mirror.lg:8888/falcon"}},
	}, got.Releases); diff != "" {
		t.Error(diff)
	}
	wantTaken := `debug: is a setting of the older server itself and means nothing here
http: is a setting of the older server itself and means nothing here
agents[0].default: falcon-agent: everyone start 0.0.1
agents[0].others[1]: falcon-agent: hosts that begin with "lg-" start 0.0.1, as group prefix-lg- of priority 3
agents[0].others[2]: falcon-agent: hosts that begin with "lg-dinp" start 1.0.1, as group prefix-lg-dinp of priority 7
agents[0].others[3]: falcon-agent: hosts that begin with "lg-dinp-0" stop 1.0.1, as group prefix-lg-dinp-0 of priority 9
agents[0].others[4]: falcon-agent: hosts that begin with "lg-dinp-1" need no group of their own: they get what they would get without it
agents[0].others[0]: falcon-agent: hosts that begin with "lg-falcon" start 1.0.0, as group prefix-lg-falcon of priority 9
agents[1].default: dinp-agent: everyone get no assignment: without a version and a cmd older hosts only reported
agents[1].others[0]: dinp-agent: hosts that begin with "lg-falcon" start 0.0.1, as group prefix-lg-falcon of priority 9
agents[5]: has no default, so the older server left it out, and so do we
falcon-agent 0.0.1: has 2 tarball addresses; a release has one content, so they must have the same
`
	if diff := gocmp.Diff(wantTaken, notes(got.Taken)); diff != "" {
		t.Error(diff)
	}
	wantRefused := `agents[2]: bad agent was not taken: name: "bad agent" is not allowed: want letters, digits and . _ + - only, at most 128, starting with a letter or digit
agents[3]: odd was not taken: for hosts that begin with "x", cmd: "reboot" is not known: want start or stop
agents[4]: dinp-agent is there twice: agents[1] was taken and this was not
`
	if diff := gocmp.Diff(wantRefused, notes(got.Refused)); diff != "" {
		t.Error(diff)
	}
	f, problems := fleetfile.Parse(fleetfile.Export(got.Fleet))
	if len(problems) > 0 || len(f.Check(fleetfile.Known{})) > 0 {
		t.Errorf("the import is not a valid fleet file: %v", problems)
	}
}

func notes(list []api.ImportNote) string {
	var b strings.Builder
	for _, n := range list {
		fmt.Fprintf(&b, "%s: %s\n", n.Path, n.Note)
	}
	return b.String()
}

func TestImportOfTheConfigThatKeepsAgentsInADatabase(t *testing.T) {
	got, problems := fleetfile.Import([]byte(`{"log_level": "debug", "refresh_interval": 300, "listen": {"port": 2000}, "database": {"dsn": "x"}}`))
	if len(problems) > 0 || len(got.Fleet.Agents) > 0 || len(got.Refused) != 2 || !strings.Contains(got.Refused[0].Note, "database") {
		t.Fatalf("got %+v, %v; want a refusal that names the database", got, problems)
	}
}

func TestImportSaysWhereAFileIsWrong(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"not JSON", "{\n  \"agents\": [}\n", `2:14: invalid character '}' looking for beginning of value: this must be the cfg.json of an older ops-meta`},
		{"a version that is a number", "{\"agents\": [{\"default\": {\"name\": \"a\", \"version\": 1.0}}]}", `1:52: agents.default.version must be text, not number: this must be the cfg.json of an older ops-meta`},
		{"agents that are no list", "{\"agents\": {}}", `1:12: agents must be a list, not object: this must be the cfg.json of an older ops-meta`},
		{"nothing", "", `unexpected end of JSON input: this must be the cfg.json of an older ops-meta`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := fleetfile.Import([]byte(c.file))
			if len(problems) != 1 || !strings.HasSuffix(problems[0].String(), c.want) {
				t.Fatalf("got %v; want %s", problems, c.want)
			}
		})
	}
}

// oldRule is the older server's rule, written down as its documentation and
// replies have it: the default, then every entry whose prefix the host's name
// has, in order, each value that is not empty replacing the one before.
func oldRule(agent map[string]any, host string) map[string]string {
	out := maps.Clone(agent["default"].(map[string]string))
	for _, o := range agent["others"].([]map[string]string) {
		if !strings.HasPrefix(host, o["prefix"]) {
			continue
		}
		for k, v := range o {
			if v != "" && k != "prefix" {
				out[k] = v
			}
		}
	}
	return out
}

var oldFields = map[string][]string{
	"version":         {"", "1", "2", "3.0"},
	"tarball":         {"", "http://a/x", "http://b/x/"},
	"md5":             {"", "http://a/x", "490ac172dabecc867289079d48e84a66"},
	"cmd":             {"", "start", "stop"},
	"runUser":         {"", "", "falcon", "root"},
	"workDir":         {"", "", "/a", "/b"},
	"configFileName":  {"", "", "cfg.json"},
	"configRemoteUrl": {"", "", "http://c/1", "http://c/2"},
}

func drawOldValues(t *rapid.T) map[string]string {
	out := map[string]string{}
	for _, k := range []string{"version", "tarball", "md5", "cmd", "runUser", "workDir", "configFileName", "configRemoteUrl"} {
		if v := rapid.SampledFrom(oldFields[k]).Draw(t, k); v != "" || rapid.Bool().Draw(t, "write") {
			out[k] = v
		}
	}
	return out
}

func TestImportMeansWhatTheOlderServerMeant(t *testing.T) {
	hostName := rapid.StringMatching(`[ab.-]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		var agents []map[string]any
		for n := range rapid.IntRange(1, 3).Draw(t, "agents") {
			first := drawOldValues(t)
			first["name"] = fmt.Sprintf("agent-%d", n)
			others := []map[string]string{}
			for range rapid.IntRange(0, 6).Draw(t, "others") {
				o := drawOldValues(t)
				o["prefix"] = hostName.Draw(t, "prefix")
				others = append(others, o)
			}
			agents = append(agents, map[string]any{"default": first, "others": others})
		}
		data, err := json.Marshal(map[string]any{"agents": agents})
		if err != nil {
			t.Fatal(err)
		}
		imported, problems := fleetfile.Import(data)
		if len(problems) > 0 || len(imported.Refused) > 0 {
			t.Fatalf("%v %v\n%s", problems, imported.Refused, data)
		}
		served := serve(imported)
		for range 8 {
			host := "h" // a name that matches nothing but the empty prefix
			if n := hostName.Draw(t, "host"); n != "" {
				host = n
			}
			told := served.ask(t, host)
			for _, agent := range agents {
				want := oldRule(agent, host)
				got, ok := told[want["name"]]
				if want["version"] == "" || want["cmd"] == "" {
					if ok {
						t.Fatalf("%s on %q: told %+v; the older server's hosts only reported\n%s", want["name"], host, got, data)
					}
					continue
				}
				delete(want, "md5")
				from := strings.TrimRight(want["tarball"], "/")
				delete(want, "tarball")
				have := map[string]string{
					"name": got.Name, "version": got.Version, "cmd": got.Cmd, "runUser": got.RunUser, "workDir": got.WorkDir,
					"configFileName": got.ConfigFileName, "configRemoteUrl": got.ConfigRemoteURL,
				}
				for k, v := range have {
					if v != want[k] {
						t.Fatalf("%s on %q: %s is %q; the older server said %q\n%s\n%s", want["name"], host, k, v, want[k], data, fleetfile.Export(imported.Fleet))
					}
				}
				if from != "" && !served.sources[got.Name+" "+got.Version][from] {
					t.Fatalf("%s on %q: address %s of %s is lost\n%s", want["name"], host, from, got.Version, data)
				}
			}
		}
	})
}

// served is an imported fleet in the part of the server that answers hosts.
type served struct {
	fleet   *fleet.Fleet
	sources map[string]map[string]bool
}

func serve(i api.Import) served {
	s := served{fleet: fleet.New(fleet.Options{}), sources: map[string]map[string]bool{}}
	w := api.Wanted{Serial: 1, Agents: i.Fleet.Agents, Groups: i.Fleet.Groups, Assignments: i.Fleet.Assignments}
	for _, r := range i.Releases {
		w.Releases = append(w.Releases, api.Release{Agent: r.Agent, Version: r.Version, Artifacts: []api.Artifact{{
			Agent: r.Agent, Version: r.Version, Arch: "linux_amd64", Size: 1,
			MD5: strings.Repeat("0", 32), SHA256: strings.Repeat("0", 64),
		}}})
		s.sources[r.Agent+" "+r.Version] = map[string]bool{}
		for _, t := range r.Tarballs {
			s.sources[r.Agent+" "+r.Version][t] = true
		}
	}
	s.fleet.UseSnapshot(fleet.Compile(fleet.Config{Wanted: w, PublicURL: "http://ops-meta.example"}, time.Now()))
	return s
}

func (s served) ask(t *rapid.T, host string) map[string]meta.DesiredAgent {
	req := &meta.HeartbeatRequest{Hostname: host, IP: "10.0.0.1", Arch: "linux_amd64", RealAgents: []meta.RealAgent{}}
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := s.fleet.Report(context.Background(), fleet.Report{Beat: fleet.Beat{Dialect: meta.DialectV1, Body: body}, Request: req})
	if err != nil {
		t.Fatal(err)
	}
	var resp meta.HeartbeatResponse
	if err := json.Unmarshal(reply.Body, &resp); err != nil {
		t.Fatal(err)
	}
	out := map[string]meta.DesiredAgent{}
	for _, a := range resp.DesiredAgents {
		a.Cmd = cmp.Or(a.Cmd, "(report only)")
		out[a.Name] = a
	}
	return out
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(oldConfig))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, problems := fleetfile.Import(data)
		if len(problems) > 0 {
			return
		}
		file, problems := fleetfile.Parse(fleetfile.Export(got.Fleet))
		if len(problems) > 0 {
			t.Fatalf("cannot read what was imported: %v", problems)
		}
		if problems := file.Check(fleetfile.Known{}); len(problems) > 0 {
			t.Fatalf("what was imported breaks the rules: %v", problems)
		}
	})
}
