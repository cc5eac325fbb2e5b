package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Back-off of what failed. A release that was at fault is in quarantine, long
// and longer; what failed for a reason that passes (a full disk, a server that
// is away) is tried again soon.
const (
	quarantineBase  = 10 * time.Minute
	quarantineLimit = 24 * time.Hour
	retryBase       = 15 * time.Second
	retryLimit      = 15 * time.Minute
	maxBlocks       = 16
)

// Block keeps one release, or one other thing that failed, from being tried
// again before Until. It is known by a key, which for releases is the digest:
// other content under the same version is another release.
type Block struct {
	Key        string    `json:"key"`
	Version    string    `json:"version"`
	Reason     string    `json:"reason"`
	Code       string    `json:"code,omitempty"` // of Reason
	Failures   int       `json:"failures"`
	Since      time.Time `json:"since"` // of the first failure
	Until      time.Time `json:"until"`
	Quarantine bool      `json:"quarantine"` // the release was at fault
}

// Explain is the reason of a step that waits for b.
func (b Block) Explain() string { return b.Version + " is " + b.inWords() + ": " + b.Reason }

func (b Block) inWords() string {
	kind := "backed off"
	if b.Quarantine {
		kind = "in quarantine"
	}
	return kind + " after " + countInWords(b.Failures, "failure")
}

func countInWords(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Fault is why something did not work.
type Fault struct {
	Key, Version string
	Reason, Code string
	Release      bool // the release is to blame
}

// AddFailure adds a failure: the wait doubles with every one, up to a limit.
func (r *Record) AddFailure(f Fault, now time.Time) Block {
	if strings.HasPrefix(f.Key, signaturePrefix) { // with other keys than now nothing is blocked
		r.Blocks = slices.DeleteFunc(r.Blocks, func(b Block) bool { return b.Key != f.Key && strings.HasPrefix(b.Key, signaturePrefix) })
	}
	b := Block{Key: f.Key, Since: now}
	if i := r.blockIndex(f.Key); i >= 0 {
		b = r.Blocks[i]
		r.Blocks = slices.Delete(r.Blocks, i, i+1)
	}
	b.Version, b.Reason, b.Code, b.Quarantine = f.Version, f.Reason, f.Code, f.Release
	b.Failures++
	b.Until = now.Add(b.waitAfterFailure())
	r.Blocks = append(r.Blocks, b)
	if extra := len(r.Blocks) - maxBlocks; extra > 0 {
		r.Blocks = slices.Delete(r.Blocks, 0, extra)
	}
	return b
}

// waitAfterFailure is how long b lasts from its last failure on.
func (b Block) waitAfterFailure() time.Duration {
	if b.Quarantine {
		return doubledUpTo(quarantineBase, quarantineLimit, b.Failures)
	}
	return doubledUpTo(retryBase, retryLimit, b.Failures)
}

// Unblock forgets the failures under key.
func (r *Record) Unblock(key string) {
	if i := r.blockIndex(key); i >= 0 {
		r.Blocks = slices.Delete(r.Blocks, i, i+1)
	}
}

// BlockFor is what keeps the thing with this key from being tried at now.
func (r *Record) BlockFor(key string, now time.Time) (Block, bool) {
	i := r.blockIndex(key)
	if i < 0 || !r.Blocks[i].Until.After(now) {
		return Block{}, false
	}
	return r.Blocks[i], true
}

// FailedBefore reports whether a release of this version failed, under whatever key.
func (r *Record) FailedBefore(version string) bool {
	return slices.ContainsFunc(r.Blocks, func(b Block) bool { return b.Quarantine && b.Version == version })
}

func (r *Record) blockIndex(key string) int {
	return slices.IndexFunc(r.Blocks, func(b Block) bool { return b.Key == key })
}

// doubledUpTo is base·2ⁿ⁻¹, capped.
func doubledUpTo(base, limit time.Duration, n int) time.Duration {
	for range n - 1 {
		if base *= 2; base >= limit {
			return limit
		}
	}
	return base
}

// FetchKey identifies where and how the release that w asks for is to be had: a
// tarball that cannot be had there may be had elsewhere.
func (r *Record) FetchKey(w Wish) string {
	from := w.Agent.Tarball + " " + w.Agent.ConfigRemoteURL
	if w.Agent.Mirrors != "" { // without any the key is what earlier versions wrote
		from += " " + string(w.Agent.Mirrors)
	}
	return "fetch:" + w.Agent.Version + " " + AddressDigest(from) + " " + r.ReleaseKey(w)
}

// ReleaseKey identifies the release that w asks for: by digest when it is
// known or was learned by an earlier install from the same source, by that
// source until then.
func (r *Record) ReleaseKey(w Wish) string {
	a := w.Agent
	switch {
	case a.SHA256 != "":
		return "sha256:" + strings.ToLower(a.SHA256)
	case a.MD5Digest(w.Dialect) != "":
		return "md5:" + a.MD5Digest(w.Dialect)
	}
	source := a.MD5URL(w.Dialect, meta.Arch())
	if r.Learned.Source == AddressDigest(source) {
		return "md5:" + r.Learned.MD5
	}
	return "source:" + AddressDigest(source)
}

// AddressDigest stands for an address, which may hold a password.
func AddressDigest(address string) string {
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:16])
}

// StopKey is the key of a version that did not stop.
func StopKey(version string) string { return "stop:" + version }

// RollbackKey is the key of a version that an operator went back to in vain.
func RollbackKey(version string) string { return "rollback:" + version }

// ConfigDigestKey is the key of a remote config with which an agent failed.
func ConfigDigestKey(digest string) string { return "config:" + digest }
