package web

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

type settingsView struct {
	Tokens   []api.Token
	Users    []api.User
	Sessions []api.Session
	Targets  []api.NotifyTarget
	Dead     []api.Notification
	Roles    []api.Role
	Made     *api.Token // its secret is shown this once
	Install  string     // what to say on a host to install the sidecar with that token; or empty
	Version  api.Version
	Keys     api.KeyReport

	// What a form says that was refused, and why.
	User    api.User
	Token   api.NewToken
	TTL     string
	Target  api.NotifyTarget
	Problem *api.Problem
}

func settingsPage(v *visit) error { return v.showSettings(settingsView{}) }

func (v *visit) showSettings(data settingsView) error {
	if err := data.fillSettings(v); err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "settings", "Settings", data)
	return nil
}

// showSettingsAgain shows what a refused form says.
func (v *visit) showSettingsAgain(err error, data settingsView) error {
	return v.showAgain(err, "settings", "Settings", func(p *api.Problem) any {
		data.Problem = p
		_ = data.fillSettings(v) // what cannot be listed is missing from a page that already says what is wrong
		return data
	})
}

func (d *settingsView) fillSettings(v *visit) error {
	ctx := v.r.Context()
	d.Roles = []api.Role{api.RoleViewer, api.RoleOperator, api.RoleAdmin, api.RoleEnroll}
	var err error
	if d.Version, err = v.api.Version(ctx); err != nil {
		return err
	}
	if d.Keys, err = v.api.Keys(ctx); err != nil {
		return err
	}
	if v.viewer.Role == api.RoleAdmin {
		tokens, err := v.api.Tokens(ctx, api.ListOptions{Limit: api.MaxPage})
		if err != nil {
			return err
		}
		users, err := v.api.Users(ctx, api.ListOptions{Limit: api.MaxPage})
		if err != nil {
			return err
		}
		d.Tokens, d.Users = tokens.Items, users.Items
	}
	sessions, err := v.api.Sessions(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	d.Sessions = sessions.Items
	if v.viewer.Role != api.RoleViewer {
		targets, err := v.api.NotifyTargets(ctx, api.ListOptions{Limit: api.MaxPage})
		if err != nil {
			return err
		}
		dead, err := v.api.DeadLetters(ctx, api.ListOptions{Limit: 50})
		if err != nil {
			return err
		}
		d.Targets, d.Dead = targets.Items, dead.Items
	}
	return nil
}

func createToken(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	asked := api.NewToken{Name: v.r.PostFormValue("name"), Role: api.Role(v.r.PostFormValue("role")), Remits: api.RemitsOf(strings.Fields(v.r.PostFormValue("remits")))}
	if text := v.r.PostFormValue("ttl"); text != "" {
		d, err := timespan.Parse(text)
		if err != nil {
			problem := &api.Problem{Title: "For how long?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "ttl"}
			return v.showSettingsAgain(problem, settingsView{Token: asked, TTL: text})
		}
		asked.TTL = int64(d.Seconds())
	}
	token, err := v.api.CreateToken(v.r.Context(), asked)
	if err != nil {
		return v.showSettingsAgain(err, settingsView{Token: asked, TTL: v.r.PostFormValue("ttl")})
	}
	made := settingsView{Made: &token}
	if token.Role == api.RoleEnroll && v.cfg.Handout != nil {
		made.Install = v.cfg.Handout().InstallLine(token.Secret)
	}
	return v.showSettings(made)
}

func confirmDeleteToken(v *visit) error {
	q := v.r.URL.Query()
	v.renderPage(http.StatusOK, "confirm", "Revoke a token", confirmView{
		Question: "Revoke the token " + q.Get("name") + "?", Effect: "Anyone who uses it is refused from now on. It cannot be given back.",
		Action: "/settings/tokens/delete", Button: "Revoke it", Danger: true, Back: "/settings", Hidden: map[string]string{"id": q.Get("id")},
	})
	return nil
}

func deleteToken(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	if err := v.api.DeleteToken(v.r.Context(), v.r.PostFormValue("id")); err != nil {
		return err
	}
	return v.redirectTo("/settings")
}

func saveTarget(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	form := v.r.PostForm
	target := api.NotifyTarget{
		Name: form.Get("name"), Kind: form.Get("kind"), URL: form.Get("url"), Secret: form.Get("secret"),
		Addresses: splitLines(form.Get("addresses")), Events: splitLines(form.Get("events")), Revision: api.MustNotExist,
	}
	if _, err := v.api.PutNotifyTarget(v.r.Context(), target); err != nil {
		return v.showSettingsAgain(err, settingsView{Target: target})
	}
	return v.redirectTo("/settings")
}

func confirmDeleteTarget(v *visit) error {
	name := v.r.URL.Query().Get("name")
	v.renderPage(http.StatusOK, "confirm", "Remove a target", confirmView{
		Question: "Remove the notification target " + name + "?", Effect: "It is told of nothing any more.",
		Action: "/settings/targets/delete", Button: "Remove it", Danger: true, Back: "/settings", Hidden: map[string]string{"name": name},
	})
	return nil
}

// retryDead queues again what could not be delivered.
func retryDead(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	id, err := strconv.ParseInt(v.r.PostFormValue("id"), 10, 64)
	if err != nil {
		return &api.Problem{Title: "There is no such notification", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if err := v.api.RetryDeadLetter(v.r.Context(), id); err != nil {
		return err
	}
	return v.redirectTo("/settings")
}

func deleteTarget(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	if err := v.api.DeleteNotifyTarget(v.r.Context(), v.r.PostFormValue("name"), 0); err != nil {
		return err
	}
	return v.redirectTo("/settings")
}
