package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// What a server says decides how the command ends: scripts look at nothing
// else.
func TestExitCodesOfRefusals(t *testing.T) {
	atHome(t)
	for name, tc := range map[string]struct {
		problem api.Problem
		exit    int
		code    string
	}{
		"wrong input":       {api.Problem{Type: "urn:ops-meta:invalid", Status: 400}, 2, "invalid"},
		"missing":           {api.Problem{Type: "urn:ops-meta:missing", Status: 400}, 3, "missing"},
		"too large":         {api.Problem{Type: "urn:ops-meta:tooLarge", Status: 413}, 2, "tooLarge"},
		"unprocessable":     {api.Problem{Type: "about:blank", Status: 422}, 2, "usage"},
		"no token":          {api.Problem{Type: "urn:ops-meta:denied", Status: 401}, 5, "denied"},
		"no right":          {api.Problem{Type: "urn:ops-meta:denied", Status: 403}, 5, "denied"},
		"not there":         {api.Problem{Type: "urn:ops-meta:notFound", Status: 404}, 3, "notFound"},
		"changed meanwhile": {api.Problem{Type: "urn:ops-meta:conflict", Status: 409}, 4, "conflict"},
		"exists":            {api.Problem{Type: "urn:ops-meta:exists", Status: 409}, 4, "exists"},
		"of a proxy":        {api.Problem{Type: "about:blank", Status: 412}, 4, "conflict"},
		"too many":          {api.Problem{Type: "urn:ops-meta:denied", Status: 429}, 1, "denied"},
		"broken":            {api.Problem{Type: "urn:ops-meta:internal", Status: 500}, 1, "internal"},
		"away":              {api.Problem{Type: "urn:ops-meta:unavailable", Status: 503}, 1, "unavailable"},
		"a bad gateway":     {api.Problem{Type: "about:blank", Status: 502}, 1, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.problem.Title, tc.problem.Detail, tc.problem.Hint, tc.problem.Field = "No", "that is so", "do this", "agent"
			f := serveRoutes(t, map[string]any{"GET /overview": tc.problem})
			if r := ops(t, f.at("status")...); r.code != tc.exit || r.out != "" || r.err != "ops-meta: error: that is so\nops-meta: hint: do this\n" {
				t.Errorf("got %+v, want exit code %d", r, tc.exit)
			}
			for _, format := range []string{"json", "yaml"} {
				r := ops(t, f.at("status", "-o", format)...)
				var told struct{ Error complaint }
				if err := json.Unmarshal([]byte(r.err), &told); err != nil {
					t.Fatalf("%v: %s", err, r.err)
				}
				want := complaint{Message: "that is so", Hint: "do this", Code: tc.code, Status: tc.problem.Status, Field: "agent", ExitCode: tc.exit}
				if got := told.Error; got.Message != want.Message || got.Hint != want.Hint || got.Code != want.Code || got.Status != want.Status || got.Field != want.Field || got.ExitCode != want.ExitCode || r.code != tc.exit {
					t.Errorf("%s: got %+v, want %+v", format, got, want)
				}
			}
		})
	}
}

func TestEveryProblemOfAFileIsTold(t *testing.T) {
	atHome(t)
	f := serveRoutes(t, map[string]any{"GET /overview": api.Problem{
		Title: "No", Status: 400, Detail: "the file is wrong", Problems: []api.FileProblem{{Line: 3, Column: 5, Message: "no such field\x1b[2J", Hint: "did you mean keep?"}, {Line: 7, Column: 1, Message: "empty"}},
	}})
	want := "  line 3, column 5: no such field [2J (did you mean keep?)\n  line 7, column 1: empty\n"
	if r := ops(t, f.at("status")...); !strings.Contains(r.err, "column 5") || strings.Contains(r.err, "\x1b") || !strings.HasSuffix(r.err, "  line 7, column 1: empty\n") {
		t.Errorf("got %q, want %q", r.err, want)
	}
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	atHome(t)
	for line, want := range map[string]struct {
		exit int
		err  string // parts, with … between them
	}{
		"hostss":                               {2, `"hostss" is not a command of ops-meta…did you mean ops-meta hosts?`},
		"rollot list":                          {2, `"rollot" is not a command of ops-meta…did you mean ops-meta rollout?`},
		"rollout lsit":                         {2, `"lsit" is not a command of ops-meta rollout…did you mean ops-meta rollout list?`},
		"zzzzzzz":                              {2, `"zzzzzzz" is not a command of ops-meta…see ops-meta --help`},
		"get hosts":                            {2, `"get" is not a command of ops-meta…list with ops-meta hosts`},
		"GET":                                  {2, `"GET" is not a command…list with ops-meta hosts`},
		"rollout restart r1":                   {2, `"restart" is not a command of ops-meta rollout…ops-meta rollout retry`},
		"help hostss":                          {2, `"hostss" is not a command of ops-meta`},
		"help rollout lsit":                    {2, `"lsit" is not a command of ops-meta rollout`},
		"hosts --failng":                       {2, "unknown flag: --failng…did you mean --failing?"},
		"hostss --failing":                     {2, `"hostss" is not a command of ops-meta`},
		"hosts --limit many":                   {2, `invalid argument "many" for "--limit"…see ops-meta hosts --help`},
		"hosts -o xml":                         {2, `--output "xml" is not known: want table, json or yaml`},
		"host":                                 {2, "accepts 1 arg(s), received 0: want NAME, got nothing…such as: ops-meta host NAME"},
		"host a b":                             {2, `want NAME, got "a b"`},
		"status now":                           {2, `ops-meta status takes no arguments, got "now"`},
		"deploy a 1 --group g --host h":        {2, "give only one of --group, --host"},
		"deploy a 1 --stages 1 --strategy s":   {2, "give only one of --stages, --strategy"},
		"deploy a 1 --stages 1,few":            {2, `stage "few" is neither a number of hosts nor a percent…such as --stages 1,10%,100%`},
		"deploy a 1 --stages x%":               {2, `stage "x%" is neither`},
		"deploy a 1 --stages 50%,10%":          {2, "stages[1]"},
		"deploy a 1 --stages 1 --soak soon":    {2, `"soon" is not a time such as 90s, 5m, 1h30m or 2d`},
		"deploy a 1 --stages 1 --soak -5":      {2, "-5 must not be negative"},
		"deploy a 1 --stages 1 --soak 1500ms":  {2, `"1500ms" is not a whole number of seconds`},
		"hosts --label role":                   {2, `"role" is not a label: want NAME=VALUE`},
		"strategy set s --window noon":         {2, `window "noon" is not [DAYS ]FROM-TO[ ZONE]`},
		"strategy set s --window 22:00-25:00":  {2, "25:00"},
		"strategy set s --rate 5":              {2, `rate "5" is not HOSTS/TIME…such as 50/10m`},
		"strategy set s --rate many/1m":        {2, `rate "many/1m" is not HOSTS/TIME`},
		"audit --kind agnt":                    {2, `kind "agnt" is not known…did you mean "agent"?`},
		"rollout hosts r --state zzz":          {2, `state "zzz" is not known…want one of waiting,`},
		"context use prod":                     {3, `there is no context "prod"…ops-meta login URL makes one`},
		"login h/../x --token t --name ../etc": {2, `cannot call a context "../etc"…--name`},
		"status --context prod":                {3, `there is no context "prod"`},
		"status --ca /nowhere --server x":      {1, "cannot read --ca"},
		"status --server ftp://x":              {1, `cannot use server "ftp://x"`},
	} {
		t.Run(line, func(t *testing.T) {
			args := strings.Fields(line)
			if before, window, found := strings.Cut(line, "--window "); found {
				args = append(strings.Fields(before), "--window", window)
			}
			r := ops(t, args...)
			rest := r.err
			for part := range strings.SplitSeq(want.err, "…") {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("said %q, want %q", r.err, want.err)
				}
				rest = after
			}
			if r.code != want.exit || r.out != "" {
				t.Errorf("got %+v, want exit code %d", r, want.exit)
			}
		})
	}
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	atHome(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secret := httptest.NewTLSServer(http.NotFoundHandler())
	defer secret.Close()
	secret.Config.ErrorLog = nil
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, tc := range map[string]struct{ server, hint string }{
		"nobody there":            {gone.URL, "is it running, and is --server (or OPS_META_SERVER) right?"},
		"TLS where there is none": {strings.Replace(plain.URL, "http:", "https:", 1), "the server speaks no TLS there: is it http://"},
		"none where there is TLS": {strings.Replace(secret.URL, "https:", "http:", 1), "begin its address with https://"},
		"an unknown authority":    {secret.URL, "give the authority that vouches for the server with --ca"},
		"no ops-meta":             {plain.URL, "check that the address is that of an ops-meta"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ops(t, "status", "--server", tc.server)
			if r.code == 0 || !strings.Contains(r.err, "ops-meta: hint: "+tc.hint) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// Every word that other tools have leads to commands that there are.
func TestOtherWordsLeadSomewhere(t *testing.T) {
	root := (&app{}).rootCommand()
	for path, words := range otherWords {
		c, rest, err := root.Find(strings.Fields(path)[1:])
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no command %s", path)
			continue
		}
		for word := range words {
			for _, sub := range c.Commands() {
				if sub.Name() == word || sub.HasAlias(word) {
					t.Errorf("%s %s is a command, its hint is never shown", path, word)
				}
			}
		}
	}
	for path := range aliases {
		if c, rest, err := root.Find(strings.Fields(path)[1:]); err != nil || len(rest) > 0 || c.CommandPath() != path {
			t.Errorf("aliases are given for %s, which is no command", path)
		}
	}
}

func TestAliasesOfOneCommandMeanNoOther(t *testing.T) {
	root := (&app{}).rootCommand()
	for path := range aliases {
		parent, _, _ := root.Find(strings.Fields(path)[1 : len(strings.Fields(path))-1])
		seen := map[string]string{}
		for _, sub := range parent.Commands() {
			for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
				if other, twice := seen[name]; twice {
					t.Errorf("%s %s is both %s and %s", parent.CommandPath(), name, other, sub.Name())
				}
				seen[name] = sub.Name()
			}
		}
	}
}
