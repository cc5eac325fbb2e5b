package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// liveEvery is the least time between two nudges to one page: a busy fleet
// changes all the time, a person reads at leisure.
const liveEvery = time.Second

// streamNudges nudges an open page by a server-sent event whenever something changed;
// the page then asks for itself again. The first nudge comes at once: what
// changed while the page was on its way, or while the connection was cut, must
// not wait for the next change. The event carries no content, so nothing can be
// seen through it that the page does not show.
func streamNudges(v *visit) error {
	out := http.NewResponseController(v.w)
	ctx, cancel := context.WithCancel(v.r.Context())
	defer cancel()
	changed := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- v.api.Follow(ctx, 0, func(api.FeedItem) {
			select {
			case changed <- struct{}{}:
			default: // one nudge is already waiting
			}
		})
	}()
	defer func() {
		cancel()
		<-ended
	}()
	select { // the first item comes at once, unless there is no place for another reader
	case <-ctx.Done():
		return nil
	case err := <-ended:
		ended <- err // for the deferred wait
		return refuseLive(v, err)
	case <-changed:
		select {
		case changed <- struct{}{}:
		default: // another one is waiting already
		}
	}
	v.w.Header().Set("Content-Type", "text/event-stream")
	pause := time.NewTimer(0)
	defer pause.Stop()
	keepAlive := time.NewTicker(20 * time.Second)
	defer keepAlive.Stop()
	if err := writeEvent(v.w, out, ": hello\n\n"); err != nil {
		return nil //nolint:nilerr // the visitor has left
	}
	for {
		text := ""
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			ended <- err // for the deferred wait
			return nil
		case <-keepAlive.C:
			text = ": still here\n\n"
		case <-changed:
			select {
			case <-pause.C:
			case <-ctx.Done():
				return nil
			}
			pause.Reset(liveEvery)
			text = "event: change\ndata: \n\n"
		}
		if err := writeEvent(v.w, out, text); err != nil {
			return nil //nolint:nilerr // the visitor has left
		}
	}
}

// refuseLive tells the page's script to look from time to time instead.
func refuseLive(v *visit, err error) error {
	p := (*api.Problem)(nil)
	if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable {
		return err
	}
	v.w.Header().Set("Retry-After", "30")
	http.Error(v.w, p.Error(), p.Status)
	return nil
}

func writeEvent(w http.ResponseWriter, out *http.ResponseController, text string) error {
	if _, err := fmt.Fprint(w, text); err != nil {
		return err
	}
	return out.Flush()
}
