package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// view is a command that only looks: it can be repeated by --watch.
type view func(ctx context.Context, c *api.Client, w io.Writer) error

// showView runs a view once, or again and again with --watch.
func (a *app) showView(cmd *cobra.Command, v view) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if !a.watch {
		return v(cmd.Context(), c, a.out)
	}
	return a.showUntilLast(cmd.Context(), c, func(ctx context.Context, w io.Writer) (bool, error) { return false, v(ctx, c, w) })
}

const (
	// watchEvery is how often --watch looks when it hears of no change; times
	// such as "3m ago" move on, too.
	watchEvery = 2 * time.Second
	watchPause = 300 * time.Millisecond // between two looks, whatever changes
)

// look fills a screen, and reports whether nothing more is to come; the error
// of a last look is the command's.
type look func(ctx context.Context, w io.Writer) (last bool, err error)

// showUntilLast shows what a look sees until it is the last, it fails or the command
// is interrupted.
func (a *app) showUntilLast(ctx context.Context, c *api.Client, see look) error {
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		signalChanges(ctx, c, changed)
	}()
	defer func() { cancel(); <-gone }()
	s := a.newScreen()
	defer s.leave()
	for {
		var now bytes.Buffer
		last, err := see(ctx, &now)
		if now.Len() > 0 {
			s.draw(now.Bytes(), last)
		}
		if last || err != nil {
			return err
		}
		if !pause.For(ctx, watchPause) || !pause.Until(ctx, changed, watchEvery) {
			return ctx.Err()
		}
	}
}

// signalChanges signals changes; without a stream --watch still looks by itself.
func signalChanges(ctx context.Context, c *api.Client, changed chan<- struct{}) {
	for ctx.Err() == nil {
		_ = c.Follow(ctx, 0, func(api.FeedItem) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		pause.For(ctx, watchEvery)
	}
}

// screen is where --watch draws. A terminal shows the latest in its alternate
// screen, so that what was there before is there again afterwards, and what
// was seen last stays below it; anywhere else only lines that were not among
// the last ones are written.
type screen struct {
	out      io.Writer
	format   string // of --output
	terminal bool
	inAlt    bool // the alternate screen is shown
	last     []byte
}

func (a *app) newScreen() *screen {
	return &screen{out: a.out, format: a.output, terminal: onTerminal(a.out) && a.output == "table"}
}

// The terminal's words for its alternate screen, and for beginning again in it.
const (
	enterAlt = "\x1b[?1049h"
	leaveAlt = "\x1b[?1049l"
	homeAnew = "\x1b[H\x1b[J"
)

func (s *screen) draw(now []byte, last bool) {
	switch {
	case s.terminal && last: // stays when leave has ended the alternate screen
	case bytes.Equal(now, s.last):
	case s.terminal:
		if !s.inAlt {
			s.inAlt = true
			_, _ = io.WriteString(s.out, enterAlt)
		}
		_, _ = io.WriteString(s.out, homeAnew+string(now))
	case s.format == "json":
		_, _ = s.out.Write(newItems(s.last, now))
	case s.format == "yaml":
		_, _ = s.out.Write(append([]byte("---\n"), now...))
	default:
		_, _ = io.WriteString(s.out, newLines(s.last, now))
	}
	s.last = now
}

// leave ends the alternate screen and leaves what was seen last.
func (s *screen) leave() {
	if s.inAlt {
		_, _ = io.WriteString(s.out, leaveAlt)
	}
	if s.terminal && s.last != nil {
		_, _ = s.out.Write(s.last)
	}
}

// newLines are the lines of now that differ from those before it by more than
// how long ago something was.
func newLines(before, now []byte) string {
	var known []string
	for line := range strings.Lines(string(before)) {
		known = append(known, withoutAges(line))
	}
	var out strings.Builder
	for line := range strings.Lines(string(now)) {
		if !slices.Contains(known, withoutAges(line)) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// newItems is the JSON of now; of a list only the items that were not in it
// before.
func newItems(before, now []byte) []byte {
	var was, is struct {
		Items []json.RawMessage `json:"items"`
	}
	if json.Unmarshal(before, &was) != nil || json.Unmarshal(now, &is) != nil || is.Items == nil {
		return now
	}
	fresh := slices.DeleteFunc(is.Items, func(item json.RawMessage) bool {
		return slices.ContainsFunc(was.Items, func(old json.RawMessage) bool { return bytes.Equal(old, item) })
	})
	if len(fresh) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"items": fresh}, "", "  ")
	if err != nil {
		return now
	}
	return append([]byte(printable.JSON(string(text))), '\n')
}

// withoutAges is a line as the next look would have it if nothing happened:
// "3m ago" moves on by itself, and so does the width of its column.
func withoutAges(line string) string {
	words := strings.Fields(line)
	for i := 1; i < len(words); i++ {
		if strings.TrimRight(words[i], ",;") == "ago" {
			words[i-1] = "…"
		}
	}
	return strings.Join(words, " ")
}

// watchRollout shows a rollout live until it ends or waits for somebody. The
// error says when that is not completion, for the exit code.
func (a *app) watchRollout(ctx context.Context, c *api.Client, id string) error {
	return a.showUntilLast(ctx, c, func(ctx context.Context, w io.Writer) (bool, error) {
		r, err := a.viewRollout(ctx, c, w, id)
		if err != nil {
			return false, err
		}
		return hasArrived(r)
	})
}

// hasArrived reports whether nothing more happens by itself.
func hasArrived(r api.Rollout) (bool, error) {
	switch r.State {
	case api.RolloutCompleted:
		return true, nil
	case api.RolloutRunning, api.RolloutRollingBack:
		return false, nil
	case api.RolloutDraft, api.RolloutAwaitingApproval, api.RolloutPaused, api.RolloutInconclusive, api.RolloutAborted:
	}
	return true, &api.Error{
		Kind: api.KindConflict, Message: fmt.Sprintf("rollout %s is %s (%s)", r.ID, r.State, r.Reason), Hint: nextStep(r),
	}
}
