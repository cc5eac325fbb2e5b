//go:build !linux

package soak

import "errors"

func mountSmall(string) error { return errors.New("small filesystems are made on Linux only") }

func unmount(string) {}
