package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// The last admin's token that lasts stays, and one is brought back without a
// server.
func TestAnAdminIsAlwaysLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.newToken(t, "brief", api.RoleAdmin, 3600)
		if p := problem(r.admin.DeleteToken(t.Context(), "admin")); p == nil || p.Status != http.StatusConflict || !strings.Contains(p.Hint, "--role admin") {
			t.Fatalf("the last lasting admin token was removed: %+v", p)
		}
		r.newToken(t, "second", api.RoleAdmin, 0)
		if err := r.admin.DeleteToken(t.Context(), "second"); err != nil {
			t.Errorf("one of two: %v", err)
		}
		if conf.DB == "" {
			if _, err := server.CreateTokenOffline(t.Context(), conf, api.Token{Name: "back", Role: api.RoleAdmin}); api.KindOf(err) != api.KindConflict {
				t.Errorf("while the server runs on the directory: %v", err)
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		}
		back, err := server.CreateTokenOffline(t.Context(), conf, api.Token{Name: "back", Role: api.RoleAdmin})
		if err != nil {
			t.Fatal(err)
		}
		if conf.DB == "" {
			r = start(t, conf)
		}
		if id, err := r.as(t, back.Secret).WhoAmI(t.Context()); err != nil || id.Role != api.RoleAdmin {
			t.Errorf("the token that was brought back: %+v, %v", id, err)
		}
	})
}
