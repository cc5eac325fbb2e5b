package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RunsOn reports whether a release has an artifact for an arch. A host that
// does not tell its arch is believed to find one.
func (r Release) RunsOn(arch string) bool {
	if arch == "" {
		return len(r.Artifacts) > 0
	}
	return slices.ContainsFunc(r.Artifacts, func(a Artifact) bool { return a.Arch == arch })
}

// ArtifactFor is the artifact for one arch, if there is one.
func (r Release) ArtifactFor(arch string) (Artifact, bool) {
	i := slices.IndexFunc(r.Artifacts, func(a Artifact) bool { return a.Arch == arch })
	if i < 0 {
		return Artifact{}, false
	}
	return r.Artifacts[i], true
}

// Lacks says in words for how many hosts, by arch, a release has no artifact,
// and for which arches it has one.
func (r Release) Lacks(without map[string]int) string {
	var lacking, has []string
	for _, arch := range slices.Sorted(maps.Keys(without)) {
		hosts := "hosts"
		if without[arch] == 1 {
			hosts = "host"
		}
		lacking = append(lacking, fmt.Sprintf("%d %s of %s", without[arch], hosts, arch))
	}
	for _, a := range r.Artifacts {
		has = append(has, a.Arch)
	}
	text := fmt.Sprintf("%s %s: no artifact for %s", r.Agent, r.Version, strings.Join(lacking, ", "))
	if len(has) > 0 {
		text += "; there is one for " + strings.Join(has, ", ")
	}
	return text
}
