// Package fleetfile reads and writes the fleet file, compares fleets, and
// translates an older ops-meta's configuration into one. It is pure: bytes
// and [api.Fleet]s in, the same out.
//
// A fleet file is YAML (or JSON) with up to five sections:
//
//	agents:      [{name: falcon-agent, runUser: falcon, strategy: careful}]
//	strategies:  [{name: careful, stages: [{count: 1}, {percent: 100}]}]
//	groups:      [{name: canary, priority: 10, selector: {prefixes: [web-0]}}]
//	assignments: [{agent: falcon-agent, scope: {kind: everyone}, version: 5.1.3}]
//	holds:       [{scope: {kind: host, name: db-1}, reason: replacing its disk}]
//
// A section that is there lists everything of its kind; one that is not there
// leaves its kind alone. Everything wrong is reported at once, each with its
// line and column.
package fleetfile
