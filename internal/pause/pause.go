// Package pause waits, but never longer than a context lasts.
package pause

import (
	"context"
	"time"
)

// For waits for d and reports false when the context ended before, or has
// already.
func For(ctx context.Context, d time.Duration) bool { return Until(ctx, nil, d) }

// Until is [For] that a signal ends early.
func Until(ctx context.Context, signal <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-signal:
	}
	return ctx.Err() == nil
}

// Every calls do until the context ends, with d before each call.
func Every(ctx context.Context, d time.Duration, do func()) {
	for For(ctx, d) {
		do()
	}
}
