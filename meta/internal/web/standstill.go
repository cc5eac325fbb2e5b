package web

import (
	"cmp"
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

// standstillView is the difference, and the code of the one that the page was
// opened with: the table follows what changes, but a person goes on only with
// what they have looked at.
type standstillView struct {
	api.StandstillReport
	Looked string
}

// standstillPage shows what would happen if the fleet no longer stood still.
func standstillPage(v *visit) error {
	r, err := v.api.Standstill(v.r.Context())
	if err != nil {
		return err
	}
	looked := cmp.Or(v.r.URL.Query().Get("looked"), r.Seen)
	v.renderPage(http.StatusOK, "standstill", "Standstill", standstillView{r, looked})
	return nil
}

func endStandstill(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	if _, err := v.api.EndStandstill(v.r.Context(), api.EndStandstill{Seen: form.Get("seen"), Reason: form.Get("reason")}); err != nil {
		return err
	}
	return v.redirectTo("/")
}

// standstillInForce is the standstill in force, for the banner on every page; a page
// does without when that cannot be found out.
func (v *visit) standstillInForce() *api.Standstill {
	if v.api == nil || v.viewer.Name == "" {
		return nil
	}
	o, err := v.api.Overview(v.r.Context())
	if err != nil {
		return nil
	}
	return o.Standstill
}
