package api

import (
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Agent is a program that hosts can be told to run, with the defaults its
// assignments inherit.
type Agent struct {
	Name            string `json:"name" yaml:"name"`
	Description     string `json:"description,omitempty" yaml:"description,omitempty"`
	RunUser         string `json:"runUser,omitempty" yaml:"runUser,omitempty"`
	WorkDir         string `json:"workDir,omitempty" yaml:"workDir,omitempty"`
	ConfigFileName  string `json:"configFileName,omitempty" yaml:"configFileName,omitempty"`
	ConfigRemoteURL string `json:"configRemoteUrl,omitempty" yaml:"configRemoteUrl,omitempty"`
	Probation       int    `json:"probation,omitempty" yaml:"probation,omitempty" unit:"seconds"` // seconds; 0: the host's default
	Keep            int    `json:"keep,omitempty" yaml:"keep,omitempty"`                          // versions; 0: the host's default
	Strategy        string `json:"strategy,omitempty" yaml:"strategy,omitempty"`                  // how a deploy rolls out; empty: the built-in one
	// Mirrors are base URLs of places that have its tarballs too, at
	// {mirror}/{arch}/{agent}-{version}.tar.gz, with their signatures beside them. Hosts
	// try them in turn after the place that a release is at.
	Mirrors  []string `json:"mirrors,omitempty" yaml:"mirrors,omitempty"`
	Revision int64    `json:"revision,omitempty" yaml:"-"` // grows with each write; the ETag
}

// ForViewers is a as it is shown to viewers, and to the audit
// log: without the login in its address.
func (a Agent) ForViewers() Agent {
	a.ConfigRemoteURL, a.Mirrors = meta.RedactURL(a.ConfigRemoteURL), redactedURLs(a.Mirrors)
	return a
}

func redactedURLs(urls []string) []string { return meta.AddressesOf(urls...).Redacted().List() }

// Release is one version of an agent: immutable once it has an artifact.
type Release struct {
	Agent     string     `json:"agent"`
	Version   string     `json:"version"`
	Notes     string     `json:"notes,omitempty"`
	Artifacts []Artifact `json:"artifacts"`
	CreatedAt time.Time  `json:"createdAt"`
	CreatedBy string     `json:"createdBy"`
	Revision  int64      `json:"revision,omitempty"`
}

// Artifact is a release's tarball for one arch. The server computes the
// digests; nobody types them.
type Artifact struct {
	Agent     string    `json:"agent"`
	Version   string    `json:"version"`
	Arch      string    `json:"arch"` // {GOOS}_{GOARCH}
	MD5       string    `json:"md5"`
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`               // bytes
	External  string    `json:"external,omitempty"` // base URL when hosted elsewhere
	Warnings  []string  `json:"warnings,omitempty"` // such as binaries of another arch
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`

	// Blake2b is the tarball's BLAKE2b-512 in hex, which signatures are made over;
	// empty for one that an older ops-meta has taken in.
	Blake2b string `json:"blake2b,omitempty"`
	// Signature is a minisign signature's file, or empty. It is the hosts that verify it.
	Signature string `json:"signature,omitempty"`
	SignedBy  string `json:"signedBy,omitempty"` // id of the key that the signature is made with
	// SignedElsewhere says that the signature lies beside a tarball that is hosted
	// elsewhere; otherwise only this server has it.
	SignedElsewhere bool `json:"signedElsewhere,omitempty"`
	// Verified says that the key is a release key of the list of keys, and the signature
	// good. It is computed for who asks; false also where the server cannot tell.
	Verified bool `json:"verified,omitempty"`

	// Only in the reply to what publishes it:
	NewAgent  bool   `json:"newAgent,omitempty"`  // nothing of this agent was here before
	Resembles string `json:"resembles,omitempty"` // the agent that a new one's name is nearly
}

// Group names the hosts that a selector matches. Among groups that match one
// host the higher priority wins, then the name that sorts first.
type Group struct {
	Name        string   `json:"name" yaml:"name"`
	Description string   `json:"description,omitempty" yaml:"description,omitempty"`
	Priority    int      `json:"priority,omitempty" yaml:"priority,omitempty"`
	Selector    Selector `json:"selector" yaml:"selector"`
	Revision    int64    `json:"revision,omitempty" yaml:"-"`
}

// Selector picks hosts. A host must satisfy every kind that is given; within
// a kind one match is enough. A selector without any kind matches nothing.
// The four hostname forms are one kind.
type Selector struct {
	Hosts    []string          `json:"hosts,omitempty" yaml:"hosts,omitempty"`       // exact names
	Prefixes []string          `json:"prefixes,omitempty" yaml:"prefixes,omitempty"` // of the name
	Globs    []string          `json:"globs,omitempty" yaml:"globs,omitempty"`       // path.Match on the name
	Regexps  []string          `json:"regexps,omitempty" yaml:"regexps,omitempty"`   // RE2, anchored at both ends
	CIDRs    []string          `json:"cidrs,omitempty" yaml:"cidrs,omitempty"`       // or single addresses
	Arches   []string          `json:"arches,omitempty" yaml:"arches,omitempty"`     // {GOOS}_{GOARCH}
	Labels   map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`     // all must be equal
}

// ScopeKind says whom an assignment or a hold is for.
type ScopeKind string

// The scopes, widest first. For assignments host beats group beats everyone;
// agent is for holds only.
const (
	ScopeEveryone ScopeKind = "everyone"
	ScopeGroup    ScopeKind = "group"
	ScopeHost     ScopeKind = "host"
	ScopeAgent    ScopeKind = "agent"
)

// Scope is whom something is for; Name is empty for everyone.
type Scope struct {
	Kind ScopeKind `json:"kind" yaml:"kind"`
	Name string    `json:"name,omitempty" yaml:"name,omitempty"`
}

// Assignment says which version of an agent a scope shall run. There is at
// most one per (agent, scope). Fields left empty inherit the agent's.
type Assignment struct {
	Agent string `json:"agent" yaml:"agent"`
	Scope Scope  `json:"scope" yaml:"scope,flow"`
	// Version may be left out of a fleet file where a schedule moves it: then it stays
	// as it is.
	Version         string `json:"version" yaml:"version"`
	Cmd             string `json:"cmd,omitempty" yaml:"cmd,omitempty"` // start, stop; empty: start
	RunUser         string `json:"runUser,omitempty" yaml:"runUser,omitempty"`
	WorkDir         string `json:"workDir,omitempty" yaml:"workDir,omitempty"`
	ConfigFileName  string `json:"configFileName,omitempty" yaml:"configFileName,omitempty"`
	ConfigRemoteURL string `json:"configRemoteUrl,omitempty" yaml:"configRemoteUrl,omitempty"`
	Probation       int    `json:"probation,omitempty" yaml:"probation,omitempty" unit:"seconds"` // 0: the agent's
	Keep            int    `json:"keep,omitempty" yaml:"keep,omitempty"`                          // 0: the agent's
	// Mirrors are tried instead of the agent's, see [Agent.Mirrors].
	Mirrors  []string `json:"mirrors,omitempty" yaml:"mirrors,omitempty"`
	Revision int64    `json:"revision,omitempty" yaml:"-"`
}

// ForViewers is a as it is shown to viewers, and to the audit
// log: without the login in its address.
func (a Assignment) ForViewers() Assignment {
	a.ConfigRemoteURL, a.Mirrors = meta.RedactURL(a.ConfigRemoteURL), redactedURLs(a.Mirrors)
	return a
}

// Hold keeps hosts at what they have: nothing of what it covers is changed
// until it is released or ends.
type Hold struct {
	ID        string     `json:"id" yaml:"-"`
	Scope     Scope      `json:"scope" yaml:"scope,flow"` // host, group or agent
	Reason    string     `json:"reason" yaml:"reason"`
	Until     *time.Time `json:"until,omitempty" yaml:"until,omitempty"`
	CreatedAt time.Time  `json:"createdAt" yaml:"-"`
	CreatedBy string     `json:"createdBy" yaml:"-"`
}
