package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
)

// Trust is what this host verifies of what it executes. Its zero value verifies
// nothing.
type Trust struct {
	Releases meta.TrustMode
	Configs  meta.TrustMode
	Keys     []string // ids of the release keys that count now
}

// Verification is what the signature of a version that is on disk came to. A version
// without one was installed while nothing was verified.
type Verification struct {
	Version string `json:"version"`
	WorkDir string `json:"workDir"`
	Key     string `json:"key,omitempty"`  // id of the release key that had signed it
	Code    string `json:"code,omitempty"` // why it was installed unverified
	Why     string `json:"why,omitempty"`  // the same for people
}

// Equal reports whether both verify the same with the same keys.
func (t Trust) Equal(other Trust) bool {
	return t.Releases == other.Releases && t.Configs == other.Configs && slices.Equal(t.Keys, other.Keys)
}

// Verifies reports whether releases are verified.
func (t Trust) Verifies() bool {
	return t.Releases == meta.TrustWarn || t.Releases == meta.TrustRequire
}

// maxVerifications bounds those of places that the agent has left.
const maxVerifications = 64

// VerificationOf is that of a version in its place; zero when nothing was verified.
func (r *Record) VerificationOf(t Target) Verification {
	if i := r.verificationIndex(t); i >= 0 {
		return r.Verified[i]
	}
	return Verification{}
}

func (r *Record) verificationIndex(t Target) int {
	return slices.IndexFunc(r.Verified, func(v Verification) bool { return v.Version == t.Version && v.WorkDir == t.WorkDir })
}

// NoteVerified keeps v, instead of what was known of the same version.
func (r *Record) NoteVerified(v Verification) {
	r.ForgetVerified(Target{Place: Place{WorkDir: v.WorkDir}, Version: v.Version})
	r.Verified = append(slices.Clone(r.Verified), v)
	r.Verified = r.Verified[max(len(r.Verified)-maxVerifications, 0):]
}

// ForgetVerified forgets what was verified of a version whose files come anew.
func (r *Record) ForgetVerified(t Target) {
	if i := r.verificationIndex(t); i >= 0 {
		r.Verified = slices.Delete(slices.Clone(r.Verified), i, i+1)
	}
}

// KeepVerified forgets versions that are no longer in workDir: other files may have
// their names later.
func (r *Record) KeepVerified(workDir string, versions []string) {
	gone := func(v Verification) bool { return v.WorkDir == workDir && !slices.Contains(versions, v.Version) }
	if slices.ContainsFunc(r.Verified, gone) {
		r.Verified = slices.DeleteFunc(slices.Clone(r.Verified), gone)
	}
}

// WhyNotExecute says why a version may not be started, and the code of that, or nothing.
// It has to have been verified when it was installed: that a key stops to count keeps
// no agent down which ran before.
func (t Trust) WhyNotExecute(r *Record, to Target) (why, code string) {
	v := r.VerificationOf(to)
	if t.Releases != meta.TrustRequire || v.Key != "" {
		return "", ""
	}
	return v.Unverified(to.Version) + ", and trust.releases of this host is require", cmp.Or(v.Code, CodeUnsigned)
}

// WhyNotSwitchTo says the same of a version that takes another one's place: the key that
// had signed it still has to count.
func (t Trust) WhyNotSwitchTo(r *Record, to Target) (why, code string) {
	if why, code = t.WhyNotExecute(r, to); why != "" || t.Releases != meta.TrustRequire {
		return why, code
	}
	if key := r.VerificationOf(to).Key; !slices.Contains(t.Keys, key) {
		return fmt.Sprintf("%s was verified by key %s, which does not count any more", to.Version, key), CodeUnknownKey
	}
	return "", ""
}

// Unverified says of a version that was not verified why that is so.
func (v Verification) Unverified(version string) string {
	if v.Why == "" {
		return version + " was installed without being verified"
	}
	return version + " is not verified: " + v.Why
}

// whyUnverified is what is to be told of the version that is there, unless nothing is verified.
func (s Situation) whyUnverified() (why, code string) {
	if !s.Trust.Verifies() || !s.isInstalled() {
		return "", ""
	}
	v := s.Journal.VerificationOf(s.currentTarget())
	if v.Key != "" || s.Name == SelfName && v == (Verification{}) { // the sidecar was brought by hand
		return "", ""
	}
	why = v.Unverified(s.Seen.Version)
	if s.Trust.Releases == meta.TrustRequire {
		why += "; it would not be started again"
	}
	return why, cmp.Or(v.Code, CodeUnsigned)
}

// signaturePrefix begins the keys of what nobody vouched for.
const signaturePrefix = "signature:"

// SignatureKey identifies what cannot be verified with the keys that count: with others,
// or from elsewhere, it is tried at once.
func (r *Record) SignatureKey(w Wish, t Trust) string {
	with := string(t.Releases) + " " + string(t.Configs) + " " + strings.Join(t.Keys, " ")
	return signaturePrefix + AddressDigest(with) + " " + r.FetchKey(w)
}

// IsSignatureCode reports whether a reason is about a signature, which may come, and not
// about what is signed.
func IsSignatureCode(code string) bool {
	switch code {
	case CodeUnsigned, CodeBadSignature, CodeUnknownKey, CodeOtherSubject, CodeNoKeys:
		return true
	}
	return false
}
