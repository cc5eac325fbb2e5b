package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// Agents are what every host runs, and what is wanted of it.
var Agents = []sim.Agent{{Name: "falcon-agent", Version: "5.1.3"}, {Name: "log-shipper", Version: "2.0.0"}, {Name: "node-exporter", Version: "1.8.2"}}

// Admin is a client with the first admin token of the server that keeps its
// data there.
func Admin(server, data string) (*api.Client, error) {
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		return nil, err
	}
	return api.NewClient(api.ClientConfig{Server: server, Token: strings.TrimSpace(string(token))})
}

// Publish tells the server what is wanted: three agents for everyone, and
// some groups that are matched on the way.
func Publish(ctx context.Context, c *api.Client) error {
	everyone := api.Scope{Kind: api.ScopeEveryone}
	for _, a := range Agents {
		if _, err := c.PutAgent(ctx, api.Agent{Name: a.Name, RunUser: "falcon", WorkDir: "/opt/agents", Revision: api.MustNotExist}); err != nil {
			return err
		}
		if err := Upload(ctx, c, a); err != nil {
			return err
		}
		if _, err := c.PutAssignment(ctx, api.Assignment{Agent: a.Name, Scope: everyone, Version: a.Version, Revision: api.MustNotExist}); err != nil {
			return err
		}
	}
	return publishGroups(ctx, c)
}

// Upload publishes a release that does nothing.
func Upload(ctx context.Context, c *api.Client, a sim.Agent) error {
	tarball, err := tarballOf(a)
	if err != nil {
		return err
	}
	_, err = c.Upload(ctx, api.Upload{Agent: a.Name, Version: a.Version, Arch: "linux_amd64", Size: int64(tarball.Len()), Tarball: tarball})
	return err
}

func publishGroups(ctx context.Context, c *api.Client) error {
	for i := range 20 {
		g := api.Group{Name: fmt.Sprintf("group-%02d", i), Priority: i, Revision: api.MustNotExist}
		g.Selector = api.Selector{Regexps: []string{fmt.Sprintf(`host-\d+%02d`, i)}, Labels: map[string]string{"zone": "z1"}}
		if _, err := c.PutGroup(ctx, g); err != nil {
			return err
		}
		a := api.Assignment{Agent: Agents[0].Name, Scope: api.Scope{Kind: api.ScopeGroup, Name: g.Name}, Version: Agents[0].Version, Keep: 3, Revision: api.MustNotExist}
		if _, err := c.PutAssignment(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func tarballOf(a sim.Agent) (*bytes.Buffer, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	script := []byte("#!/bin/sh\n# " + a.Name + "-" + a.Version + "\necho started\n")
	if err := t.WriteHeader(&tar.Header{Name: "control", Mode: 0o755, Size: int64(len(script))}); err != nil {
		return nil, err
	}
	if _, err := t.Write(script); err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	return &b, z.Close()
}
