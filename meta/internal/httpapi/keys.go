package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) keyRoutes() []route {
	report := func(c *call) (api.KeyReport, error) { return s.backend.Keys.Keys(c.Context()) }
	return []route{
		{method: "GET", path: "/keys", id: "listKeys", summary: "Whom hosts can believe: the server's keys and the list of keys", role: api.RoleViewer, endpoint: reads(report)},
		{
			method: "POST", path: "/keys/server", id: "makeServerKey", role: api.RoleAdmin,
			summary:  "Make a key with which the server signs replies; the first signs at once, a later one waits",
			endpoint: reads(func(c *call) (api.OwnKey, error) { return s.backend.Keys.MakeServerKey(c.Context(), c.actor()) }),
		},
		{
			method: "POST", path: "/keys/server/rotate", id: "rotateServerKey", summary: "Have the key that waits sign", role: api.RoleAdmin,
			endpoint: reads(func(c *call) (api.KeyReport, error) {
				if err := s.backend.Keys.RotateServerKey(c.Context(), c.actor()); err != nil {
					return api.KeyReport{}, err
				}
				return report(c)
			}),
		},
		{
			method: "PUT", path: "/keys/list", id: "publishKeyList", summary: "Pass a signed list of keys on to hosts", role: api.RoleAdmin,
			endpoint: takes(http.StatusOK, func(c *call, p api.PublishKeyList) (api.KeyReport, error) {
				if err := s.backend.Keys.PublishKeyList(c.Context(), c.actor(), p); err != nil {
					return api.KeyReport{}, err
				}
				return report(c)
			}),
		},
		{
			method: "DELETE", path: "/keys/known/{id}", id: "deleteKey", summary: "Forget a key of the server's that does not sign, or a root key", role: api.RoleAdmin,
			endpoint: acts(func(c *call) error { return s.backend.Keys.DeleteKey(c.Context(), c.actor(), c.PathValue("id")) }),
		},
	}
}
