// Package buildinfo says which build this is.
package buildinfo

import "runtime/debug"

// version is set by the linker: -X …/internal/buildinfo.version=1.2.3.
var version string

// Version is the released version, or "0.0.0-dev" with the commit when the
// build was not stamped.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "0.0.0-dev+" + s.Value[:12]
			}
		}
	}
	return "0.0.0-dev"
}
