package web

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

// standstillPage shows what would happen if the fleet no longer stood still.
func standstillPage(v *visit) error {
	r, err := v.api.Standstill(v.r.Context())
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "standstill", "Standstill", r)
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
	return v.redirect("/")
}

// standing is the standstill in force, for the banner on every page; a page
// does without when that cannot be found out.
func (v *visit) standing() *api.Standstill {
	if v.api == nil || v.viewer.Name == "" {
		return nil
	}
	o, err := v.api.Overview(v.r.Context())
	if err != nil {
		return nil
	}
	return o.Standstill
}
