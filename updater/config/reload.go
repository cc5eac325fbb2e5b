package config

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// Current is the configuration that counts, and why the file says something
// else, if it does.
type Current struct {
	config    atomic.Pointer[Config]
	problem   atomic.Pointer[string]
	reloading sync.Mutex
	onProblem func(why string)
}

// NewCurrent makes c the configuration that counts. onProblem is told why a
// reload changed nothing, and with "" that one did again.
func NewCurrent(c Config, onProblem func(why string)) *Current {
	k := &Current{onProblem: onProblem}
	k.config.Store(&c)
	k.problem.Store(new(string))
	return k
}

// Config is the configuration that counts now.
func (k *Current) Config() *Config { return k.config.Load() }

// Problem is why the last reload changed nothing, or "".
func (k *Current) Problem() string { return *k.problem.Load() }

// Reload reads the file again and lets use try what it says. When either fails
// the old configuration stays. restart names the keys that differ and are only
// read at start. One reload at a time calls use.
func (k *Current) Reload(use func(next Config) error) (next Config, restart []string, err error) {
	k.reloading.Lock()
	defer k.reloading.Unlock()
	old := k.Config()
	next, err = Load(old.Path)
	if err == nil {
		restart = old.changesNeedingRestart(next)
		next.VarDir = old.VarDir
		err = use(next)
	}
	if err != nil {
		k.setProblem(err.Error())
		return *old, nil, err
	}
	k.config.Store(&next)
	k.setProblem("")
	return next, restart, nil
}

func (k *Current) setProblem(why string) {
	if old := k.problem.Swap(&why); *old != why {
		k.onProblem(why)
	}
}

// OnHangup calls reload for every SIGHUP until ctx ends.
func OnHangup(ctx context.Context, reload func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			reload()
		}
	}
}
