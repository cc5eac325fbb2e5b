package web

import (
	"net/http"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

// saveUser lets somebody log in with a name and a password.
func saveUser(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	user := api.User{Name: form.Get("name"), Role: api.Role(form.Get("role")), Remits: api.RemitsOf(strings.Fields(form.Get("remits"))), Password: form.Get("password"), Revision: api.MustNotExist}
	if _, err := v.api.PutUser(v.r.Context(), user); err != nil {
		user.Password = ""
		return v.showSettingsAgain(err, settingsView{User: user})
	}
	return v.redirectTo("/settings")
}

func confirmDeleteUser(v *visit) error {
	name := v.r.URL.Query().Get("name")
	v.renderPage(http.StatusOK, "confirm", "Remove a user", confirmView{
		Question: "Remove the user " + name + "?", Effect: "Their sessions end, and they cannot log in any more.",
		Action: "/settings/users/delete", Button: "Remove them", Danger: true, Back: "/settings", Hidden: map[string]string{"name": name},
	})
	return nil
}

func deleteUser(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	if err := v.api.DeleteUser(v.r.Context(), v.r.PostFormValue("name"), 0); err != nil {
		return err
	}
	return v.redirectTo("/settings")
}

func confirmEndSession(v *visit) error {
	q := v.r.URL.Query()
	v.renderPage(http.StatusOK, "confirm", "End a session", confirmView{
		Question: "End the session of " + q.Get("name") + "?", Effect: "Whoever uses it is refused from now on, and has to log in again.",
		Action: "/settings/sessions/end", Button: "End it", Danger: true, Back: "/settings", Hidden: map[string]string{"id": q.Get("id")},
	})
	return nil
}

func endSession(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	if err := v.api.EndSession(v.r.Context(), v.r.PostFormValue("id")); err != nil {
		return err
	}
	return v.redirectTo("/settings")
}
