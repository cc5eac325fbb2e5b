package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) standstillRoutes() []route {
	return []route{
		{
			method: "GET", path: "/standstill", id: "standstill", role: api.RoleViewer,
			summary:  "Whether the fleet stands still because the database went back, and what would happen if that ended",
			endpoint: reads(func(c *call) (api.StandstillReport, error) { return s.backend.Standstill.Standstill(c.Context()) }),
		},
		{
			method: "POST", path: "/standstill/end", id: "endStandstill", role: api.RoleOperator, remit: remitNone,
			summary: "Let hosts be told what is wanted again, as it was looked at",
			endpoint: takes(http.StatusOK, func(c *call, e api.EndStandstill) (api.StandstillReport, error) {
				if err := s.backend.Standstill.EndStandstill(c.Context(), c.actor(), e); err != nil {
					return api.StandstillReport{}, err
				}
				return s.backend.Standstill.Standstill(c.Context())
			}),
		},
	}
}
