package updater

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// A look that is about what was wanted before tells nobody anything, but in a
// transaction no keeper is waited for.
func TestI6WhoWaitsForALookWaitsForNoTransaction(t *testing.T) {
	c := config.Default()
	c.VarDir, c.WorkDir = t.TempDir(), t.TempDir()
	e, err := NewEngine(NewEngineConfig(c, zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		act    plan.Act
		orders int // since the look began
		told   bool
	}{
		"nothing to do":                           {plan.ActNone, 0, true},
		"nothing to do for what was wanted":       {plan.ActNone, 1, false},
		"an upgrade begins":                       {plan.ActUpgrade, 0, true},
		"an upgrade begins, and an order came":    {plan.ActUpgrade, 1, true},
		"a transaction goes on, an order came in": {plan.ActResume, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(e, "falcon", ownState)
			looked := k.lookSoon()
			for range tc.orders {
				k.replan()
			}
			k.publishLook(plan.Situation{Name: "falcon"}, plan.Step{Act: tc.act})
			told := false
			select {
			case <-looked:
				told = true
			default:
			}
			if told != tc.told {
				t.Errorf("who waits is told: %v; want %v", told, tc.told)
			}
		})
	}
}
