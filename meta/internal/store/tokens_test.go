package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		var made api.Token
		write(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
			made, err = tx.CreateToken(ctx, api.Token{Name: "ci", Role: api.RoleOperator})
			return err
		})
		got, err := s.Authenticate(t.Context(), made.Secret)
		if err != nil || got.Name != "ci" || got.Role != api.RoleOperator || got.CreatedBy != "alice" || got.Secret != "" {
			t.Errorf("authenticated %+v, %v", got, err)
		}
		for _, wrong := range []string{"", made.Secret + "x", made.Secret[1:], made.ID, "ci"} {
			if _, err := s.Authenticate(t.Context(), wrong); api.KindOf(err) != api.KindNotFound {
				t.Errorf("secret %q: %v", wrong, err)
			}
		}
		refused(t, s, api.KindExists, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.CreateToken(ctx, api.Token{Name: "ci", Role: api.RoleViewer})
			return err
		})
		used := moment()
		if err := s.TouchTokens(t.Context(), map[string]time.Time{made.ID: used, "gone": used}); err != nil {
			t.Fatal(err)
		}
		if list := must(s.Tokens(t.Context(), api.Cursor{}))(t).Items; len(list) != 1 || list[0].LastUsed == nil || !list[0].LastUsed.Equal(used) {
			t.Errorf("tokens: %+v", list)
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteToken(ctx, "ci") })
		if _, err := s.Authenticate(t.Context(), made.Secret); api.KindOf(err) != api.KindNotFound {
			t.Errorf("a deleted token: %v", err)
		}
	})
}

func TestSecretsAreNotStored(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		secret := "a-secret-of-a-deployment"
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.CreateTokenWithSecret(ctx, api.Token{Name: "ci", Role: api.RoleAdmin}, secret)
			return err
		})
		if text := unzipped(t, s); strings.Contains(text, secret) || !strings.Contains(text, `"ci"`) {
			t.Errorf("the database holds the secret, or not the token:\n%s", text)
		}
		refused(t, s, api.KindInvalid, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.CreateTokenWithSecret(ctx, api.Token{Name: "short"}, "guessable")
			return err
		})
	})
}

func TestHostsAreEnrolled(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		seed(t, s)
		before := must(s.Serial(t.Context()))(t)
		first := must(s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: "h1"}))(t)
		if got := must(s.Authenticate(t.Context(), first.Secret))(t); got.Role != api.RoleHost || got.Host != "h1" {
			t.Errorf("authenticated %+v", got)
		}
		if _, err := s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: "h1"}); api.KindOf(err) != api.KindExists {
			t.Errorf("a second credential: %v", err)
		}
		second := must(s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: "h1", Replace: true}))(t)
		if _, err := s.Authenticate(t.Context(), first.Secret); api.KindOf(err) != api.KindNotFound {
			t.Errorf("the replaced credential: %v", err)
		}
		if got := must(s.HostToken(t.Context(), "h1"))(t); got.ID != second.ID {
			t.Errorf("credential %+v", got)
		}
		if n := len(must(s.Tokens(t.Context(), api.Cursor{}))(t).Items); n != 0 {
			t.Errorf("%d hosts' credentials among the tokens", n)
		}
		if after := must(s.Serial(t.Context()))(t); after != before {
			t.Errorf("enrolling moved the serial from %d to %d", before, after)
		}
		if n := len(must(s.Audit(t.Context(), api.AuditFilter{Action: "enrol"}, api.Cursor{}))(t).Items); n != 2 {
			t.Errorf("%d audit entries, want 2", n)
		}
	})
}

func TestSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s, other := d.open(t), d.open(t)
		key := must(s.EnsureSecret(t.Context(), "cookie", 32))(t)
		if again := must(other.EnsureSecret(t.Context(), "cookie", 32))(t); string(again) != string(key) || len(key) != 32 {
			t.Errorf("two replicas have the keys %x and %x", key, again)
		}
		write(t, s, func(ctx context.Context, tx *store.Tx) error {
			return tx.PutSetting(ctx, "smtp", []byte("pass\x00word"))
		})
		if got := must(s.Setting(t.Context(), "smtp"))(t); string(got) != "pass\x00word" {
			t.Errorf("setting %q", got)
		}
		if _, err := s.Setting(t.Context(), "none"); api.KindOf(err) != api.KindNotFound {
			t.Errorf("no setting: %v", err)
		}
		for _, e := range must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{}))(t).Items {
			if strings.Contains(string(e.After), "pass") {
				t.Errorf("the audit log has a setting's value: %s", e.After)
			}
		}
	})
}
