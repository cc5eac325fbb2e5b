// Package install is, in this file, the agreed surface only. Whoever lands the
// real package deletes this file.
package install

import (
	"context"
	"errors"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

type Job struct {
	Agent, Version string
	Dir            string
	Tarballs       []string
	MD5, SHA256    string
	MD5URL         string
	Size           int64
	Config         *Config
	Limits         Limits
	Proxy          string
}
type Config struct{ FileName, URL string }
type Limits struct {
	MaxDownload, MaxUnpacked int64
	MaxFiles                 int
	Reserve, MaxRate         int64
	StallTimeout             time.Duration
	Retries                  int
}
type Result struct {
	MD5, SHA256 string
	Files       int
	Bytes       int64
	Present     bool
}
type Progress struct {
	Phase       meta.Phase
	Done, Total int64
}
type Error struct {
	Reason    string
	Permanent bool
	Err       error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func Run(ctx context.Context, job Job, report func(Progress)) (Result, error) {
	return Result{}, errors.New("no")
}
func FetchConfig(ctx context.Context, dir, version string, c Config, limits Limits) (changed bool, digest string, err error) {
	return
}
