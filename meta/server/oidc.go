package server

import (
	"context"
	"reflect"
	"strings"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
)

// OIDC is the OpenID Connect provider whose people may log in.
type OIDC struct {
	Issuer           string   `yaml:"issuer"`           // URL; empty: there is none
	ClientID         string   `yaml:"clientId"`         // that the provider gave this server
	ClientSecretFile string   `yaml:"clientSecretFile"` // empty: the provider asks for none
	Name             string   `yaml:"name"`             // what people know it as [the issuer's host]
	Scopes           []string `yaml:"scopes"`           // beside openid [profile, email, and groups where the provider has that]
	GroupsClaim      string   `yaml:"groupsClaim"`      // which says the groups of a person [groups]
	Roles            []string `yaml:"roles"`            // GROUP=ROLE, or GROUP=operator:REMIT:REMIT…
	CA               string   `yaml:"ca"`               // PEM file; empty: the system's authorities
}

// maxClientSecret bounds the file of the client's secret, in bytes.
const maxClientSecret = 4 << 10

// newProvider is the provider of the settings, or nil; it is asked nothing yet.
func (c OIDC) newProvider() (*provider.Provider, error) {
	if reflect.ValueOf(c).IsZero() {
		return nil, nil
	}
	if c.Issuer == "" {
		return nil, api.InvalidField("oidc.issuer", "oidc.issuer is missing: the URL of the login provider that the rest of oidc is about")
	}
	conf := provider.Config{
		Name: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Scopes: c.Scopes, GroupsClaim: c.GroupsClaim, CAFile: c.CA,
	}
	for _, text := range c.Roles {
		rule, err := provider.ParseRule(text)
		if err != nil {
			return nil, err
		}
		conf.Rules = append(conf.Rules, rule)
	}
	if c.ClientSecretFile != "" {
		secret, err := plainfile.ReadLinked(c.ClientSecretFile, maxClientSecret)
		if err != nil {
			return nil, api.InvalidField("oidc.clientSecretFile", "cannot read oidc.clientSecretFile: %v", err)
		}
		conf.ClientSecret = strings.TrimSpace(string(secret))
	}
	return provider.New(conf)
}

// openProvider comes before the backend, which asks it.
func (s *Server) openProvider(context.Context) (err error) {
	s.provider, err = s.conf.OIDC.newProvider()
	return err
}
