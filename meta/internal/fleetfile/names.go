package fleetfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearestHint offers the known name that is most like an unknown one.
func nearestHint(name string, known []string) string {
	if len(name) > 200 || len(known) > 1000 {
		return ""
	}
	best, distance := "", max(2, len(name)/3)+1
	slices.Sort(known)
	for _, k := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k))
		if d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) > 0 && len(known) <= 12:
		return "known are " + strings.Join(known, ", ")
	}
	return ""
}

func keysOf[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// lastName is the last name of a path: "regexps" of groups[0].selector.regexps.
func lastName(path string) string {
	if path == "" {
		return "the file"
	}
	if strings.HasSuffix(path, "]") {
		return "each entry of " + lastName(path[:strings.LastIndexByte(path, '[')])
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}

// inPath says where a path is, for a message.
func inPath(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// parentPath is a path without its last part.
func parentPath(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}
