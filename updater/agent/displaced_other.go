//go:build !linux

package agent

// displaced: it cannot be told here.
func (r Runner) displaced() (lost, deleted []process) { return nil, nil }
