package httpapi

import (
	"net/http"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) accessRoutes() []route {
	return []route{
		{method: "GET", path: "/tokens", id: "listTokens", summary: "Tokens, without their secrets", role: api.RoleAdmin, query: listing(), endpoint: reads(func(c *call) (api.Page[api.Token], error) {
			page, err := c.cursor()
			if err != nil {
				return api.Page[api.Token]{}, err
			}
			return s.backend.Tokens.Tokens(c.Context(), page)
		})},
		{method: "POST", path: "/tokens", id: "createToken", summary: "Make a token; its secret is in this reply and nowhere else", role: api.RoleAdmin, endpoint: takes(http.StatusCreated, s.createToken)},
		{method: "DELETE", path: "/tokens/{id}", id: "deleteToken", summary: "Make a token void at once", role: api.RoleAdmin, endpoint: acts(func(c *call) error {
			id := c.PathValue("id")
			err := s.backend.Tokens.DeleteToken(c.Context(), c.actor(), id)
			if err == nil {
				s.access.Forget(id)
			}
			return err
		})},
		{method: "POST", path: "/enroll", id: "enroll", summary: "Exchange an enrolment token for a host's own credential", role: api.RoleEnroll, endpoint: takes(http.StatusCreated, s.enroll)},
	}
}

func (s *Server) createToken(c *call, n api.NewToken) (api.Token, error) {
	switch n.Role {
	case api.RoleViewer, api.RoleOperator, api.RoleAdmin, api.RoleEnroll:
	default:
		return api.Token{}, invalid("role", "role %q is not known: want viewer, operator, admin or enroll", clip(string(n.Role)))
	}
	if n.TTL < 0 {
		return api.Token{}, invalid("ttl", "ttl must not be negative: got %d", n.TTL)
	}
	token := api.Token{Name: n.Name, Role: n.Role}
	if n.TTL > 0 {
		end := s.access.now().UTC().Add(time.Duration(n.TTL) * time.Second)
		token.ExpiresAt = &end
	}
	return s.issue(c, token)
}

// issue makes a token with a fresh secret, which only its reply shows.
func (s *Server) issue(c *call, token api.Token) (api.Token, error) {
	secret := NewSecret()
	made, err := s.backend.Tokens.CreateToken(c.Context(), c.actor(), token, HashSecret(secret))
	made.Secret = secret
	return made, err
}

// enroll gives a host its credential. A host that enrols again gets a new
// one, and the old one is void.
func (s *Server) enroll(c *call, e api.Enrolment) (api.Credential, error) {
	if !s.access.enrols.take(s.access.Address(c.Request)) {
		return api.Credential{}, tooMany("too many enrolments from this address", time.Minute/time.Duration(s.access.enrols.perMinute))
	}
	if err := (api.Scope{Kind: api.ScopeHost, Name: e.Hostname}).Validate(); err != nil {
		return api.Credential{}, invalid("hostname", "hostname %q is no host name", clip(e.Hostname))
	}
	made, err := s.issue(c, api.Token{Name: "host " + e.Hostname, Role: api.RoleHost, Host: e.Hostname})
	if err != nil {
		return api.Credential{}, err
	}
	s.access.Forget(e.Hostname)
	return api.Credential{Hostname: e.Hostname, Secret: made.Secret}, nil
}
