package updater

import (
	"errors"

	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// codeOf is the code of an error for programs, or nothing.
func codeOf(err error) string {
	if je, ok := errors.AsType[*JobError](err); ok {
		return je.Reason
	}
	if _, ok := errors.AsType[*runas.Error](err); ok {
		return plan.CodeNoChild
	}
	if errors.Is(err, errChildLost) {
		return plan.CodeLost
	}
	return ""
}
