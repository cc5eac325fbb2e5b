package server_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// Where no admin's token is left, one is made in the directory of a server that
// is down, or in the PostgreSQL of one that runs.
func TestATokenIsMadeBesideTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	bin := buildProgram(t, "")
	onBoth(t, func(t *testing.T, conf server.Config) {
		p := launch(t, bin, conf)
		o := opsMeta{bin, conf}
		args := []string{"token", "create", "back", "--role", "admin"}
		if conf.DB == "" {
			args = append(args, "--data", conf.Data)
			if said, err := o.run(t, "", args...); err == nil || !strings.Contains(said, "another ops-meta uses the data directory") {
				t.Errorf("beside a server that runs: %v, %s", err, said)
			}
			p.kill()
		}
		said, err := o.run(t, "", args...)
		ended(t, said, err)
		if conf.DB == "" {
			p = launch(t, bin, conf)
		}
		p.login(t, strings.TrimSpace(said))
		page, err := p.client.Tokens(t.Context(), api.ListOptions{})
		if err != nil || len(page.Items) != 2 {
			t.Errorf("with the token that was made: %+v, %v", page, err)
		}
		if conf.DB != "" {
			for _, command := range []string{"doctor", "backup -"} {
				if said, err := o.run(t, "", strings.Fields(command)...); err == nil || !strings.Contains(said, "--data DIR") {
					t.Errorf("%s with --db alone asks another server: %v, %s", command, err, said)
				}
			}
		}
	})
}
