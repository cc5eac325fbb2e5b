package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// database is what a server asks whether it is up to date.
type database struct {
	away  bool
	asked [][]fleet.Claim
}

func (d *database) Confirm(_ context.Context, _ string, claims []fleet.Claim) error {
	d.asked = append(d.asked, claims)
	if d.away {
		return errors.New("connection refused")
	}
	return nil
}

// What a host says that this server did not tell it is confirmed once, when it
// says it; a steady heartbeat asks nobody, unless there was no answer.
func TestWhatOnlyTheDatabaseCanExplainIsConfirmedOnce(t *testing.T) {
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	db := &database{}
	f := newFleet(t, fleet.Options{}, w)
	f.ConfirmWith(db)
	said := func(a meta.RealAgent) meta.DesiredAgent {
		t.Helper()
		req := report("web-01", a)
		body, _ := json.Marshal(req)
		b := fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body}
		r, steady := f.Steady(t.Context(), b)
		if !steady {
			r = beat(t, f, meta.DialectV1, req)
		}
		return told(t, r)["falcon"]
	}
	claim := running("falcon", "2.0")
	claim.DesiredVersion, claim.Rollout = "2.0", "r9"
	steps := []struct {
		name  string
		away  bool
		says  meta.RealAgent
		told  string
		asked int // in all
	}{
		{"as it was told", false, running("falcon", "1.0"), "1.0", 0},
		{"granted by another server, and the database is away", true, claim, "2.0", 1},
		{"the same again", true, claim, "2.0", 2},
		{"the database knows of nothing", false, claim, "1.0", 3},
		{"the same again, which is settled", false, claim, "1.0", 3},
		{"back", false, running("falcon", "1.0"), "1.0", 3},
	}
	for _, s := range steps {
		db.away = s.away
		got := said(s.says)
		if got.Version != s.told || got.Cmd != meta.CmdStart || len(db.asked) != s.asked {
			t.Fatalf("%s: told %s %s, asked %d times; want %s, %d times", s.name, got.Cmd, got.Version, len(db.asked), s.told, s.asked)
		}
		h, _ := f.Host("web-01")
		if kept := s.away; kept != (len(h.Problems) > 0) {
			t.Errorf("%s: its problems are %v", s.name, h.Problems)
		}
	}
	if want := (fleet.Claim{Agent: "falcon", Version: "2.0", Rollout: "r9"}); db.asked[0][0] != want {
		t.Errorf("asked about %+v, want %+v", db.asked[0][0], want)
	}
}
