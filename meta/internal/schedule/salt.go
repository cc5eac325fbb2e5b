package schedule

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Salt is by which the hosts of a rollout are placed that the schedule begins: known
// beforehand, so that it can be forecast who goes first, and another one for
// each version, so that it is not always the same ones.
func Salt(s Situation) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.Schedule.Name, s.Agent, s.Schedule.Scope.String(), s.Channel.Version}, "\x00")))
	return base32.StdEncoding.EncodeToString(sum[:16])[:26]
}
