package plan

// Codes of errors, which the report carries as reason, beside those that a child
// gives.
const (
	CodeRefused = "refused"    // the reply breaks the contract
	CodeNoChild = "no-child"   // none can be started as the agent's user
	CodeLost    = "child-lost" // it ended without an answer

	CodeWaiting     = "waiting"     // for an install of another agent
	CodeNotStarted  = "not-started" // control start did not get the version to run
	CodeProbation   = "probation"   // it ran and did not prove itself
	CodeInterrupted = "interrupted" // too often, with this version being started
	CodeOperator    = "operator"    // went back
	CodePolicy      = "policy"      // this host's policy does not allow it
	CodeWindow      = "window"      // this host's policy does not allow it now
	CodeStale       = "stale"       // the journal is not about what is there any more
)

// CodeOwned is the code of an agent that is reported but left alone, because
// another sidecar looks after it.
const CodeOwned = "looked-after-by-another"
