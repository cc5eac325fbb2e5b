package meta

import "github.com/ops-updater/ops-updater/meta/trust"

// Paths a heartbeat may be posted to.
const (
	PathV1     = "/api/heartbeat" // this contract
	PathLegacy = "/heartbeat"     // open-falcon's older dialect
)

// Protocol is the revision of our additions that this build speaks.
const Protocol = 1

// HeartbeatRequest is what a host says about itself and its agents.
type HeartbeatRequest struct {
	Hostname       string      `json:"hostname"`
	IP             string      `json:"ip"`
	RunUser        string      `json:"runUser"` // the sidecar's own user
	UpdaterVersion string      `json:"updaterVersion"`
	RealAgents     []RealAgent `json:"realAgents"`

	// Additions; a peer that lacks them still works.
	Arch     string            `json:"arch,omitempty"` // {GOOS}_{GOARCH}
	Labels   map[string]string `json:"labels,omitempty"`
	BootTime int64             `json:"bootTime,omitempty"` // Unix seconds
	BootID   string            `json:"bootId,omitempty"`   // tells two hosts under one name apart
	Protocol int               `json:"protocol,omitempty"`
	// SerialMark is that of the last answer that had one, as it was: it shows a
	// server whose database went back what it had said since.
	SerialMark string `json:"serialMark,omitempty"`
	// Trust is what the host verifies; nil from hosts that verify nothing.
	Trust *TrustReport `json:"trust,omitempty"`
}

// TrustMode is how a part of a host's trust is taken.
type TrustMode string

// The modes. The empty one counts as off.
const (
	TrustOff     TrustMode = "off"     // nothing is verified
	TrustWarn    TrustMode = "warn"    // what cannot be verified is reported, and done
	TrustRequire TrustMode = "require" // what cannot be verified is not done
)

// TrustReport is what a host verifies, with which keys, and what it refused last.
type TrustReport struct {
	Releases TrustMode `json:"releases,omitempty"` // signatures of tarballs
	Configs  TrustMode `json:"configs,omitempty"`  // signatures of remote configurations
	Desired  TrustMode `json:"desired,omitempty"`  // signatures of replies
	Keys     []string  `json:"keys,omitempty"`     // ids of the release keys that count
	Servers  []string  `json:"servers,omitempty"`  // ids of the server's keys that count
	Roots    []string  `json:"roots,omitempty"`    // ids of the root keys
	Epoch    int64     `json:"epoch,omitempty"`    // of the list of keys; 0: none was heard
	Refused  string    `json:"refused,omitempty"`  // why the last reply was not believed, or empty
	Reason   string    `json:"reason,omitempty"`   // its code, see trust.Code
	Since    int64     `json:"since,omitempty"`    // since when no reply has been believed, Unix seconds
}

// RealAgent is one agent as the host found it by asking the disk and the
// agent's own control script.
type RealAgent struct {
	Name      string `json:"name"`
	Version   string `json:"version"`   // what .version names; empty: nothing installed
	Status    string `json:"status"`    // see the Status constants; "unknown: …" otherwise
	Timestamp int64  `json:"timestamp"` // when Status was asked, Unix seconds
	RunUser   string `json:"runUser"`
	WorkDir   string `json:"workDir"`

	// Additions.
	Phase           Phase   `json:"phase,omitempty"`
	DesiredVersion  string  `json:"desiredVersion,omitempty"`
	PreviousVersion string  `json:"previousVersion,omitempty"` // what a rollback would return to
	Error           string  `json:"error,omitempty"`           // why the agent is not as wanted
	Reason          string  `json:"reason,omitempty"`          // its code, for programs
	Since           int64   `json:"since,omitempty"`           // when Phase was entered, Unix seconds
	Progress        float64 `json:"progress,omitempty"`        // of the phase, 0 to 1
	Held            bool    `json:"held,omitempty"`
	HoldReason      string  `json:"holdReason,omitempty"`
	Orphaned        bool    `json:"orphaned,omitempty"` // runs here, no longer in desiredAgents
	Rollout         string  `json:"rollout,omitempty"`  // echo of the grant being acted on
}

// HeartbeatResponse is what is wanted of the host.
type HeartbeatResponse struct {
	ErrorMessage  string         `json:"errorMessage"`
	DesiredAgents []DesiredAgent `json:"desiredAgents"` // null means none, as older servers send

	// Success and Message appear in the replies of one older server instead
	// of ErrorMessage. Success absent counts as true.
	Success *bool  `json:"success,omitempty"`
	Message string `json:"message,omitempty"`

	// Additions.
	Interval int   `json:"interval,omitempty"` // seconds until the next heartbeat; 0: the host's own
	Serial   int64 `json:"serial,omitempty"`   // grows with every change of what is wanted
	// SerialMark is for the host to echo, and means nothing to it.
	SerialMark string `json:"serialMark,omitempty"`

	// Of a signed reply, see package trust.
	Host    string            `json:"host,omitempty"`    // the name that the heartbeat had
	Epoch   int64             `json:"epoch,omitempty"`   // of the server's list of keys
	Expires int64             `json:"expires,omitempty"` // Unix seconds; after it the reply says nothing any more
	KeyList *trust.SignedList `json:"keyList,omitempty"` // for a host that reports another epoch
}

// DesiredAgent is what is wanted of one agent on one host.
type DesiredAgent struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	Tarball         string `json:"tarball"` // base URL; see [DesiredAgent.TarballURL]
	MD5             string `json:"md5"`     // 32 hex digits, or the base URL of .md5 files, or empty
	Cmd             string `json:"cmd"`
	RunUser         string `json:"runUser"`         // empty: the sidecar's own user
	WorkDir         string `json:"workDir"`         // empty: the sidecar's configured default
	ConfigFileName  string `json:"configFileName"`  // placed into the version directory
	ConfigRemoteURL string `json:"configRemoteUrl"` // where its content comes from

	// Additions.
	SHA256    string `json:"sha256,omitempty"`    // 64 hex digits
	Size      int64  `json:"size,omitempty"`      // bytes of the tarball; 0: not announced
	Probation int    `json:"probation,omitempty"` // seconds; 0: the host's default
	Keep      int    `json:"keep,omitempty"`      // complete versions to keep; 0: the host's default
	Rollout   string `json:"rollout,omitempty"`   // the rollout that granted this version
	// Mirrors are further base URLs of the same tarball, tried in turn when one has
	// not what the digests say. See [DesiredAgent.TarballURLs].
	Mirrors Addresses `json:"mirrors,omitempty"`
	Retry   int64     `json:"retry,omitempty"` // when it grows, what failed before is tried again: quarantine and back-off end
}

// Commands a server may give for an agent. An empty one only reports.
const (
	CmdNone  = ""
	CmdStart = "start"
	CmdStop  = "stop"
)

// Statuses as a control script prints them. The spelling of StatusStopped is
// historic and fixed; both spellings are understood.
const (
	StatusStarted = "started"
	StatusStopped = "stoped"
	StatusUnknown = "unknown" // on the wire followed by ": " and the last line printed
)

// Phase is where an agent's update transaction stands.
type Phase string

// The phases of a transaction, in the order an update passes them.
const (
	PhaseIdle        Phase = "idle"
	PhaseDownloading Phase = "downloading"
	PhaseStaging     Phase = "staging"
	PhaseStopping    Phase = "stopping"
	PhaseStarting    Phase = "starting"
	PhaseProbation   Phase = "probation"
	PhaseRollingBack Phase = "rollingBack"
	PhaseRolledBack  Phase = "rolledBack"
	PhaseFailed      Phase = "failed"
	PhaseHeld        Phase = "held"
)
