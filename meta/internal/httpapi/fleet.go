package httpapi

import "github.com/ops-updater/ops-updater/meta/api"

func (s *Server) fleetRoutes() []route {
	return []route{
		{method: "GET", path: "/fleet", id: "exportFleet", summary: "Everything an operator has said, as a fleet file", role: api.RoleViewer, endpoint: streams("application/yaml", s.exportFleet)},
		{
			method: "PUT", path: "/fleet", id: "applyFleet", summary: "Be as the fleet file says, all of it or nothing",
			role: api.RoleOperator, remit: remitEach, query: []param{
				dryRun,
				{"now", "a changed version goes to all hosts at once, without a rollout, also one that was taken back as bad", "boolean"},
				{"overwrite", "also take back what was changed after the file was exported", "boolean"},
			},
			endpoint: uploads("application/yaml", s.applyFleet),
		},
		{
			method: "POST", path: "/fleet/import", id: "importConfig", summary: "Take the cfg.json of an older ops-meta",
			role: api.RoleOperator, remit: remitNone, query: []param{dryRun, {"partial", "take what can be taken when a part of it cannot", "boolean"}}, endpoint: uploads("application/json", s.importConfig),
		},
	}
}

func (s *Server) exportFleet(c *call) error {
	file, err := s.backend.Fleet.Export(c.Context(), c.onlyLooks())
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/yaml")
	_, err = c.w.Write(file)
	return err
}

func (s *Server) applyFleet(c *call) (api.Plan, error) {
	var o api.ApplyOptions
	var err error
	for name, on := range map[string]*bool{"dryRun": &o.DryRun, "now": &o.Now, "overwrite": &o.Overwrite} {
		if *on, err = c.boolParam(name); err != nil {
			return api.Plan{}, err
		}
	}
	file, err := c.readAll(maxBody)
	if err != nil {
		return api.Plan{}, err
	}
	return s.backend.Fleet.Apply(c.Context(), c.actor(), file, o)
}

func (s *Server) importConfig(c *call) (api.ImportReport, error) {
	var o api.ImportOptions
	var err error
	for name, on := range map[string]*bool{"dryRun": &o.DryRun, "partial": &o.Partial} {
		if *on, err = c.boolParam(name); err != nil {
			return api.ImportReport{}, err
		}
	}
	if o.As, err = api.FetchAsOf(c.Header); err != nil {
		return api.ImportReport{}, err
	}
	file, err := c.readAll(maxBody)
	if err != nil {
		return api.ImportReport{}, err
	}
	if err := checkShape(file); err != nil {
		return api.ImportReport{}, err
	}
	return s.backend.Fleet.Import(c.Context(), c.actor(), file, o)
}
