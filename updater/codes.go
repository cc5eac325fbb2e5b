package updater

import (
	"errors"

	"github.com/ops-updater/ops-updater/updater/runas"
)

// Codes of errors, which the report carries as reason, beside those that a child
// gives: the Reason constants of package install, and those of [JobError].
const (
	codeRefused = "refused"    // the reply breaks the contract
	codeNoChild = "no-child"   // none can be started as the agent's user
	codeLost    = "child-lost" // it ended without an answer

	codeWaiting     = "waiting"     // for an install of another agent
	codeNotStarted  = "not-started" // control start did not get the version to run
	codeProbation   = "probation"   // it ran and did not prove itself
	codeInterrupted = "interrupted" // too often, with this version being started
	codeOperator    = "operator"    // went back
	codeStale       = "stale"       // the journal is not about what is there any more
)

// codeOf is the code of an error for programs, or nothing.
func codeOf(err error) string {
	if je, ok := errors.AsType[*JobError](err); ok {
		return je.Reason
	}
	if _, ok := errors.AsType[*runas.Error](err); ok {
		return codeNoChild
	}
	if errors.Is(err, errChildLost) {
		return codeLost
	}
	return ""
}
