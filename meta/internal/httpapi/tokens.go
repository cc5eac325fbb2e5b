package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) accessRoutes() []route {
	return []route{
		{method: "GET", path: "/tokens", id: "listTokens", summary: "Tokens, without their secrets", role: api.RoleAdmin, query: listingParams(param{"role", "host: the credentials of hosts instead", ""}), endpoint: reads(s.listTokens)},
		{method: "POST", path: "/tokens", id: "createToken", summary: "Make a token; its secret is in this reply and nowhere else", role: api.RoleAdmin, endpoint: takes(http.StatusCreated, s.createToken)},
		{method: "DELETE", path: "/tokens/{id}", id: "deleteToken", summary: "Make a token void at once", role: api.RoleAdmin, endpoint: acts(func(c *call) error {
			id := c.PathValue("id")
			err := s.backend.Tokens.DeleteToken(c.Context(), c.actor(), id)
			if err == nil {
				s.access.ForgetToken(id)
			}
			return err
		})},
		{method: "POST", path: "/enroll", id: "enroll", summary: "Exchange an enrolment token for a host's own credential", role: api.RoleEnroll, endpoint: takes(http.StatusCreated, s.enrollHost)},
	}
}

func (s *Server) listTokens(c *call) (api.Page[api.Token], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Token]{}, err
	}
	switch role := c.URL.Query().Get("role"); role {
	case "":
		return s.backend.Tokens.Tokens(c.Context(), page)
	case string(api.RoleHost):
		return s.backend.Tokens.Credentials(c.Context(), page)
	default:
		return api.Page[api.Token]{}, api.InvalidField("role", "role %q cannot be listed: want host, or none for all tokens but hosts'", printable.Clip(role))
	}
}

func (s *Server) createToken(c *call, n api.NewToken) (api.Token, error) {
	if n.TTL < 0 {
		return api.Token{}, api.InvalidField("ttl", "ttl must not be negative: got %d", n.TTL)
	}
	token := api.Token{Name: n.Name, Role: n.Role, Remits: n.Remits}
	if err := token.Validate(); err != nil {
		return api.Token{}, err
	}
	if n.TTL > 0 {
		end := s.access.now().UTC().Add(time.Duration(n.TTL) * time.Second)
		token.ExpiresAt = &end
	}
	return s.backend.Tokens.CreateToken(c.Context(), c.actor(), token)
}

// enrollHost gives a host its credential.
func (s *Server) enrollHost(c *call, e api.Enrolment) (api.Credential, error) {
	if !s.access.enrols.takeOne(s.access.Address(c.Request)) {
		return api.Credential{}, tooMany("too many enrolments from this address", time.Minute/time.Duration(s.access.enrols.perMinute))
	}
	e.Hostname = strings.TrimSpace(e.Hostname) // as in reports
	if !meta.ValidHostname(e.Hostname) {       // it could never report
		return api.Credential{}, api.InvalidField("hostname", "hostname %q is not allowed: %s", printable.Clip(e.Hostname), meta.HostnameHelp)
	}
	made, err := s.backend.Tokens.Enroll(c.Context(), c.actor(), e.Hostname)
	if err != nil {
		return api.Credential{}, err
	}
	s.access.ForgetToken(e.Hostname)
	return api.Credential{Hostname: e.Hostname, Secret: made.Secret}, nil
}
