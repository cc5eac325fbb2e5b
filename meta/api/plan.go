package api

// ApplyOptions are how a fleet file is applied.
type ApplyOptions struct {
	DryRun bool // only say what would change
	Now    bool // a changed version goes to all hosts at once, without a rollout
	// Overwrite also takes back what was changed after the file was exported.
	Overwrite bool
}

// Plan is what applying a fleet file changes, in the order in which it is
// done. Nothing in Changes: the server already is as the file says.
type Plan struct {
	DryRun  bool          `json:"dryRun"`
	Changes []FleetChange `json:"changes"`
}

// ImportReport is what became of an older ops-meta's configuration, and what
// taking it changes.
type ImportReport struct {
	Import  Import `json:"import"`
	Plan    Plan   `json:"plan"`
	File    string `json:"file"`    // the fleet file it becomes
	Applied bool   `json:"applied"` // else nothing was changed
}
