package updater

import (
	"errors"

	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// codeOf is the code of an error for programs, or nothing.
func codeOf(err error) string {
	if je, ok := errors.AsType[*job.Error](err); ok {
		return je.Code
	}
	if _, ok := errors.AsType[*runas.Error](err); ok {
		return plan.CodeNoChild
	}
	if errors.Is(err, pool.ErrLost) {
		return plan.CodeLost
	}
	return job.SystemCode(err)
}
