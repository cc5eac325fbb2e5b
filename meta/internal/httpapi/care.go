package httpapi

import (
	"net/http"
	"time"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (s *Server) getVersion(*call) (api.Version, error) {
	return api.Version{Version: buildinfo.Version(), Protocol: meta.Protocol, Arch: meta.Arch()}, nil
}

func (s *Server) getOpenAPI(c *call) error {
	c.w.Header().Set("Content-Type", "application/vnd.oai.openapi+json")
	_, err := c.w.Write(s.document)
	return err
}

func (s *Server) whoAmI(c *call) (api.Identity, error) { return c.caller, nil }

func (s *Server) getOverview(c *call) (api.Overview, error) {
	return s.backend.Hosts.Overview(c.Context())
}

// getHistory goes back a day unless it is told how far.
func (s *Server) getHistory(c *call) ([]api.Sample, error) {
	from, err := c.timeParam("since")
	if err != nil {
		return nil, err
	}
	if from.IsZero() {
		from = time.Now().Add(-24 * time.Hour)
	}
	agent := c.URL.Query().Get("agent")
	samples, err := s.backend.History.Samples(c.Context(), agent, from)
	if err == nil && len(samples) == 0 && agent != "" {
		err = s.backend.Filters.Unknown(c.Context(), api.FilterNames{Agent: agent})
	}
	return samples, err
}

func (s *Server) runDoctor(c *call) ([]api.Check, error) {
	return s.backend.Care.Doctor(c.Context()), nil
}

// streamBackup streams; a failure in the middle breaks the connection, so that
// nobody keeps half an archive for a whole one.
func (s *Server) streamBackup(c *call) error {
	c.w.Header().Set("Content-Type", "application/gzip")
	c.w.Header().Set("Content-Disposition", `attachment; filename="ops-meta-backup.tar.gz"`)
	return s.backend.Care.Backup(c.Context(), c.actor(), c.w)
}

func (s *Server) listAudit(c *call) (api.Page[api.AuditEntry], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.AuditEntry]{}, err
	}
	q := c.URL.Query()
	f := api.AuditFilter{Actor: q.Get("actor"), Action: q.Get("action"), Kind: q.Get("kind"), Name: q.Get("q")}
	if f.Since, err = c.timeParam("since"); err != nil {
		return api.Page[api.AuditEntry]{}, err
	}
	if f.Until, err = c.timeParam("until"); err != nil {
		return api.Page[api.AuditEntry]{}, err
	}
	return refuseUnknownFilter[api.AuditEntry](c, api.FilterNames{Actor: f.Actor, Action: f.Action, Kind: f.Kind})(s.backend.History.Audit(c.Context(), f, page))
}

func (s *Server) notificationRoutes() []route {
	return []route{
		{
			method: "POST", path: "/notifications/targets/{target}/test", id: "testNotifyTarget", summary: "Send it one notification now",
			role: api.RoleOperator, remit: remitNone, endpoint: acts(func(c *call) error {
				return s.backend.Notifications.TestTarget(c.Context(), c.actor(), c.PathValue("target"))
			}),
		},
		{
			method: "GET", path: "/notifications/dead", id: "listDeadLetters", summary: "Notifications that could not be delivered",
			role: api.RoleViewer, query: listingParams(), endpoint: reads(func(c *call) (api.Page[api.Notification], error) {
				page, err := c.pageCursor()
				if err != nil {
					return api.Page[api.Notification]{}, err
				}
				return s.backend.Notifications.DeadLetters(c.Context(), page)
			}),
		},
		{
			method: "POST", path: "/notifications/dead/{id}/retry", id: "retryDeadLetter", summary: "Try to deliver it again",
			role: api.RoleOperator, remit: remitNone, endpoint: acts(func(c *call) error {
				id, err := intParam(c.PathValue("id"), "id", 0)
				if err != nil {
					return err
				}
				return s.backend.Notifications.RetryDeadLetter(c.Context(), c.actor(), int64(id))
			}),
		},
		{
			method: "DELETE", path: "/notifications/dead/{id}", id: "dropDeadLetter", summary: "Give it up for good",
			role: api.RoleOperator, remit: remitNone, endpoint: acts(func(c *call) error {
				id, err := intParam(c.PathValue("id"), "id", 0)
				if err != nil {
					return err
				}
				return s.backend.Notifications.DropDeadLetter(c.Context(), c.actor(), int64(id))
			}),
		},
	}
}

var _ http.Handler = (*Server)(nil)
