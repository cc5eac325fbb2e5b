package api

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest is the known name that a typo most likely meant, or "".
func Nearest(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// Slip is the known name that differs from name by no more than two letters,
// as a slip of the finger does, or "".
func Slip(name string, known []string) string {
	for _, k := range known {
		if len(name) > 3 && k != name && levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)) <= 2 {
			return k
		}
	}
	return ""
}
