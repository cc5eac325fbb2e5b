package plan

// Codes of errors, which the report carries as reason, beside those that a child
// gives.
const (
	CodeRefused = "refused"    // the reply breaks the contract
	CodeNoChild = "no-child"   // none can be started as the agent's user
	CodeLost    = "child-lost" // it ended without an answer

	CodeWaiting     = "waiting"      // for an install of another agent
	CodeNotStarted  = "not-started"  // control start did not get the version to run
	CodeProbation   = "probation"    // it ran and did not prove itself
	CodeInterrupted = "interrupted"  // too often, with this version being started
	CodeOperator    = "operator"     // went back
	CodePolicy      = "policy"       // this host's policy does not allow it
	CodeWindow      = "window"       // this host's policy does not allow it now
	CodeStale       = "stale"        // the journal is not about what is there any more
	CodeJournalLost = "journal-lost" // it could not be read, and was begun anew from what is on disk
	CodeVersionLost = "version-lost" // .version named nothing that is there, or what did not take over; it names again what it should
)

// Codes of what cannot be verified. The child that finds out gives the same.
const (
	CodeUnsigned     = "unsigned"      // there is no signature
	CodeBadSignature = "signature-bad" // it is not one of these bytes
	CodeUnknownKey   = "unknown-key"   // it was made with a key that does not count
	CodeOtherSubject = "other-subject" // it is one of something else
	CodeNoKeys       = "no-keys"       // no key counts
)

// CodeOwned is the code of an agent that is reported but left alone, because
// another sidecar looks after it.
const CodeOwned = "looked-after-by-another"
