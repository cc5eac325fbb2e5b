package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
)

func TestFor(t *testing.T) {
	cases := []struct {
		name        string
		wait, until time.Duration // until: when the context ends
		want        bool
		lasts       time.Duration
	}{
		{"the whole time", time.Minute, time.Hour, true, time.Minute},
		{"the context ends", time.Hour, time.Minute, false, time.Minute},
		{"no time at all", 0, time.Hour, true, 0},
		{"no time, and the context has ended", 0, 0, false, 0},
		{"the context has ended", time.Hour, 0, false, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.until)
				defer cancel()
				begun := time.Now()
				if got := pause.For(ctx, c.wait); got != c.want || time.Since(begun) != c.lasts {
					t.Errorf("got %v after %s; want %v after %s", got, time.Since(begun), c.want, c.lasts)
				}
			})
		})
	}
}

func TestASignalEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signal := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(signal) })
		begun := time.Now()
		if !pause.Until(t.Context(), signal, time.Hour) || time.Since(begun) != time.Second {
			t.Errorf("it took %s", time.Since(begun))
		}
	})
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		calls := 0
		pause.Every(ctx, 4*time.Second, func() { calls++ })
		if calls != 2 {
			t.Errorf("%d calls", calls)
		}
	})
}
