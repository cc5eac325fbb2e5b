package rollout

import (
	"crypto/sha256"
	"encoding/binary"

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
	Busy     bool // in the middle of another rollout
	Silent   bool // not heard of lately
}

func (h Host) inGroup(group string) bool {
	return group == "" || h.InGroup != nil && h.InGroup(group)
}

// room is how many more hosts the count stage i may be granted. Counts are
// cumulative over the stages of the same group; a failure that an operator
// forgave by resuming gives its place back.
func room(r api.Rollout, i int) int {
	used := 0
	for k := range i + 1 {
		if r.Strategy.Stages[k].Group == r.Strategy.Stages[i].Group {
			used += r.Progress[k].Granted - r.Progress[k].Forgiven
		}
	}
	return max(r.Strategy.Stages[i].Count-used, 0)
}
