package api_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestATarballsNameIsReadInTheOneWayThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		said  api.Naming
		known string // agents that exist
		want  string // agent version arch; or the beginning of the refusal
	}{
		"plain":                      {file: "demo-1.0.0.tar.gz", want: "demo 1.0.0 "},
		"tgz":                        {file: "dir/demo-1.0.0.tgz", want: "demo 1.0.0 "},
		"dashes in the agent":        {file: "falcon-agent-5.1.3.tar.gz", want: "falcon-agent 5.1.3 "},
		"a v":                        {file: "falcon-agent-v5.1.3.tar.gz", want: "falcon-agent v5.1.3 "},
		"a suffix":                   {file: "demo-1.0-rc1.tar.gz", want: "demo 1.0-rc1 "},
		"a date":                     {file: "demo-2024-01-15.tar.gz", want: "the name demo-2024-01-15.tar.gz can be read in several ways: demo 2024-01-15, or demo-2024 01-15, or demo-2024-01 15"},
		"a date of a known agent":    {file: "demo-2024-01-15.tar.gz", known: "demo", want: "demo 2024-01-15 "},
		"two known agents":           {file: "demo-2024-01-15.tar.gz", known: "demo demo-2024", want: "the name demo-2024-01-15.tar.gz can be read in several ways"},
		"a date whose agent is said": {file: "demo-2024-01-15.tar.gz", said: api.Naming{Agent: "demo"}, want: "demo 2024-01-15 "},
		"a date that is said":        {file: "demo-2024-01-15.tar.gz", said: api.Naming{Version: "2024-01-15"}, want: "demo 2024-01-15 "},
		"git describe":               {file: "demo-1.2-3-g1a2b3c4.tar.gz", want: "the name demo-1.2-3-g1a2b3c4.tar.gz can be read in several ways"},
		"a word of a known agent":    {file: "demo-stable.tar.gz", known: "demo", want: "demo stable "},
		"a word":                     {file: "demo-stable.tar.gz", want: "cannot tell agent and version from the name demo-stable.tar.gz"},
		"an agent whose name begins with another's": {file: "demo-extra-1.0.tar.gz", known: "demo", want: "the name demo-extra-1.0.tar.gz can be read in several ways: demo extra-1.0, or demo-extra 1.0"},
		"both known, one version numbered":          {file: "demo-extra-1.0.tar.gz", known: "demo demo-extra", want: "demo-extra 1.0 "},
		"a word and a time of a known agent":        {file: "demo-RELEASE.2020-11-25T23.tar.gz", known: "demo", want: "the name demo-RELEASE.2020-11-25T23.tar.gz can be read in several ways"},
		"no version":                                {file: "demo.tgz", want: "cannot tell agent and version from the name demo.tgz"},
		"everything said":                           {file: "build.tgz", said: api.Naming{"demo", "1", ""}, want: "demo 1 "},
		"a directory that is an arch":               {file: "/out/linux_arm64/demo-1.0.tar.gz", want: "demo 1.0 linux_arm64"},
		"a directory that only looks like one":      {file: "/out/my_build/demo-1.0.tar.gz", want: "demo 1.0 "},
		"an arch that is said and a directory":      {file: "/out/linux_arm64/demo-1.0.tar.gz", said: api.Naming{Arch: "linux_amd64"}, want: "demo 1.0 linux_amd64"},
		"an arch behind the version":                {file: "demo-1.0-linux_arm64.tar.gz", want: "demo 1.0 linux_arm64"},
		"with a dash":                               {file: "demo-1.0-linux-arm64.tar.gz", want: "demo 1.0 linux_arm64"},
		"with a dot, as exporters":                  {file: "node_exporter-1.9.1.linux-amd64.tar.gz", want: "node_exporter 1.9.1 linux_amd64"},
		"as uname says":                             {file: "demo-1.0-Linux-x86_64.tar.gz", want: "demo 1.0 linux_amd64"},
		"of a Mac":                                  {file: "demo-1.0-macos-arm64.tar.gz", want: "demo 1.0 darwin_arm64"},
		"a machine only":                            {file: "demo-1.0.aarch64.tar.gz", want: "demo 1.0 linux_arm64"},
		"a number that is a machine's":              {file: "demo-1.0.386.tar.gz", want: "demo 1.0.386 "},
		"an arch before the version":                {file: "demo-linux-arm64-1.0.tar.gz", want: "the name demo-linux-arm64-1.0.tar.gz can be read"},
		"with everything said":                      {file: "demo-linux-arm64-1.0.tar.gz", said: api.Naming{Agent: "demo", Version: "1.0"}, want: "demo 1.0 linux_arm64"},
		"another arch said than named":              {file: "demo-1.0-linux_arm64.tar.gz", said: api.Naming{Arch: "linux_amd64"}, want: "the name demo-1.0-linux_arm64.tar.gz says linux_arm64, and you say linux_amd64"},
		"another directory than named":              {file: "linux_amd64/demo-1.0-linux_arm64.tar.gz", want: "the name demo-1.0-linux_arm64.tar.gz says linux_arm64, and its directory says linux_amd64"},
	} {
		known := strings.Fields(c.known)
		got, err := c.said.Complete(c.file, func(agent string) (bool, error) { return slices.Contains(known, agent), nil })
		text := got.Agent + " " + got.Version + " " + got.Arch
		if err != nil {
			text = err.Error()
		}
		if text != c.want && (err == nil || !strings.HasPrefix(text, c.want)) {
			t.Errorf("%s: got %q, want %q", name, text, c.want)
		}
	}
	away := errors.New("away")
	if _, err := (api.Naming{}).Complete("demo-1.0.tar.gz", func(string) (bool, error) { return false, away }); !errors.Is(err, away) {
		t.Errorf("got %v, want the reason why agents are not known", err)
	}
}
