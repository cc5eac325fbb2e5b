package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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
		if another := must(s.EnsureSecret(t.Context(), "other", 32))(t); string(another) == string(key) {
			t.Error("two secrets are the same")
		}
	})
}

// A reader that follows the audit log by number misses no entry, though enrolments
// and operators' writes come from everywhere at once.
func TestAuditIsVisibleInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 25 {
					host := fmt.Sprintf("h-%d-%d", w, i)
					if _, err := s.EnrollHost(t.Context(), store.HostCredential{Actor: operator, Host: host}); err != nil {
						t.Error(err)
					}
					if _, err := s.Write(t.Context(), operator, func(tx *store.Tx) error { return put(host)(t.Context(), tx) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { writers.Wait(); close(done) }()
		heard := map[int64]bool{}
		for last, ended := int64(0), false; !ended; {
			select {
			case <-done:
				ended = true // and look once more
			default:
			}
			newest := last
			for _, e := range must(s.Audit(t.Context(), api.AuditFilter{}, api.Cursor{Limit: 1000}))(t).Items {
				if e.ID > last {
					heard[e.ID] = true
					newest = max(newest, e.ID)
				}
			}
			last = newest
		}
		if len(heard) != 200 {
			t.Errorf("heard of %d entries of 200", len(heard))
		}
	})
}

// TestWhatIsRecordedCanBeAskedFor: an action or a kind that is not in the list is taken for
// a misspelt one until the first of it is recorded.
func TestWhatIsRecordedCanBeAskedFor(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{"Action": store.AuditActions(), "Kind": store.AuditKinds()}
	literal := regexp.MustCompile(`(Action|Kind): *"([a-z ]+)"`)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			found++
			if !slices.Contains(lists[m[1]], m[2]) {
				t.Errorf("%s records the %s %q, which nobody can ask for", file, m[1], m[2])
			}
		}
	}
	if found == 0 {
		t.Error("nothing is recorded: the pattern is out of date")
	}
}
