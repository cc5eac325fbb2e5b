package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Share is where host stands in a rollout with that salt: a number in
// [0, 100) that never changes, so that a host whose share is below a stage's
// percent belongs to it, and a larger percent only adds hosts.
func Share(salt, host string) float64 {
	sum := sha256.Sum256([]byte(salt + "\x00" + host))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53) * 100
}

// Host is what must be known of a host to place it in a rollout.
type Host struct {
	Name     string
	InGroup  func(group string) bool // nil: in none
	OnTarget bool                    // has the target in good health
	Held     bool
	// NoArtifact: it cannot have the target, of which there is nothing for its
	// arch.
	NoArtifact bool
	Busy       bool // in the middle of another rollout
	Silent     bool // not heard of lately
	// Pace is the time between its heartbeats when the server cannot steer it,
	// else 0.
	Pace time.Duration
}

func (h Host) inGroup(group string) bool {
	return group == "" || h.InGroup != nil && h.InGroup(group)
}

// StageLimit is how many hosts the count stage k may grant by itself, 0 for a
// stage without a count. Counts are cumulative over the stages of one group,
// so it is what k's count adds to the one before it; a failure that an
// operator forgave by resuming gives its place back.
func StageLimit(r api.Rollout, k int) int {
	st := r.Strategy.Stages[k]
	if st.Count == 0 {
		return 0
	}
	before := 0
	for _, earlier := range r.Strategy.Stages[:k] {
		if earlier.Group == st.Group {
			before = max(before, earlier.Count)
		}
	}
	return st.Count - before + r.Progress[k].Forgiven
}

// roomInStage is how many more hosts the count stage k may be granted.
func roomInStage(r api.Rollout, k int) int { return max(StageLimit(r, k)-r.Progress[k].Granted, 0) }
