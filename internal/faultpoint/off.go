//go:build !faultpoints

// Package faultpoint lets the kill tests end or stop a program at a named
// moment. In a build without the tag faultpoints, which is every release, its
// points do nothing.
package faultpoint

// Hit marks the moment called name.
func Hit(string) {}

// Fail is the error that was asked for at the moment called name: none.
func Fail(string) error { return nil }

// Environment is what a child process needs to have the same faults.
func Environment() []string { return nil }
