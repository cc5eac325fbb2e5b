// oidc-provider LISTEN REDIRECT is an OpenID Connect provider for tests, of
// Zitadel's library and its example's store in memory: it serves at LISTEN, an
// address of this machine, and sends browsers back to REDIRECT. Its client is
// ops-meta with the secret "secret-for-tests", its people are those below, whose
// password is "verysecure".
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// people have their names as identifiers, too.
var people = users{
	"anna": {"anna@example.com", []string{"staff", "ops-admins"}},
	"tim":  {"tim@example.com", []string{"staff", "team-a"}},
	"eve":  {"eve@example.com", []string{"staff"}},
}

type person struct {
	mail   string
	groups []string
}

type users map[string]person

func (u users) GetUserByID(id string) *storage.User {
	p, known := u[id]
	if !known {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: "verysecure", FirstName: id, Email: p.mail, EmailVerified: true}
}

func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }

func (u users) ExampleClientID() string { return "" }

// withGroups adds the groups of people to what the store says of them.
type withGroups struct{ *storage.Storage }

func addGroups(info *oidc.UserInfo, err error) error {
	if err == nil && info.Subject != "" {
		info.AppendClaims("groups", people[info.Subject].groups)
	}
	return err
}

func (s withGroups) SetUserinfoFromScopes(ctx context.Context, info *oidc.UserInfo, user, client string, scopes []string) error {
	return addGroups(info, s.Storage.SetUserinfoFromScopes(ctx, info, user, client, scopes))
}

func (s withGroups) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	return addGroups(info, s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes))
}

func (s withGroups) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	return addGroups(info, s.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin))
}

func main() {
	if len(os.Args) != 3 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: oidc-provider LISTEN REDIRECT")
		os.Exit(2)
	}
	listen, redirect := os.Args[1], os.Args[2]
	storage.RegisterClients(storage.WebClient("ops-meta", "secret-for-tests", redirect))
	handler := exampleop.SetupServer("http://"+listen+"/", withGroups{storage.NewStorage(people)}, slog.New(slog.NewTextHandler(io.Discard, nil)), false)
	s := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	_, _ = fmt.Fprintln(os.Stderr, s.ListenAndServe())
	os.Exit(1)
}
