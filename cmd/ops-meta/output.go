package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

// style is an ANSI sequence; it is written on terminals only.
type style string

const (
	red    style = "\x1b[31m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
	bold   style = "\x1b[1m"
	dim    style = "\x1b[2m"
	normal style = "\x1b[0m"
)

func (a *app) paint(w io.Writer, s style, text string) string {
	if s == "" || a.plain || !onTerminal(w) {
		return text
	}
	return string(s) + text + string(normal)
}

func (a *app) errStyle(s style, text string) string { return a.paint(a.err, s, text) }

// cell is a table's cell, with the style it has on a terminal.
type cell struct {
	text  string
	style style
}

func plain(text string) cell { return cell{text: text} }

// table is lines of cells under a heading.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// write aligns the columns by what is seen, not by what is sent.
func (t *table) write(a *app, w io.Writer) {
	heading := make([]cell, len(t.head))
	for i, h := range t.head {
		heading[i] = cell{h, dim}
	}
	rows := append([][]cell{heading}, t.rows...)
	widths := make([]int, len(t.head))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(a.paint(a.out, c.style, c.text))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// print writes v in the format that was asked for; human is the one for
// people.
func (a *app) print(w io.Writer, v any, human func(io.Writer)) error {
	if a.output == "table" {
		human(w)
		return nil
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if a.output == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	_, err = fmt.Fprintln(w, string(data))
	return err
}

// view is a command that only looks: it can be repeated by --watch.
type view func(ctx context.Context, c *api.Client, w io.Writer) error

// show runs a view once, or again and again with --watch.
func (a *app) show(cmd *cobra.Command, v view) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if !a.watch {
		return v(cmd.Context(), c, a.out)
	}
	return a.follow(cmd.Context(), c, v)
}

// watchEvery is how often --watch looks when it hears of no change; times
// such as "3m ago" move on, too.
const watchEvery = 5 * time.Second

func (a *app) follow(ctx context.Context, c *api.Client, v view) error {
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		follow(ctx, c, changed)
	}()
	defer func() { cancel(); <-gone }()
	var last []byte
	for {
		var screen bytes.Buffer
		if err := v(ctx, c, &screen); err != nil {
			return err
		}
		if !bytes.Equal(last, screen.Bytes()) {
			a.redraw(screen.Bytes())
			last = screen.Bytes()
		}
		if !pause(ctx, 500*time.Millisecond, nil) || !pause(ctx, watchEvery, changed) {
			return nil
		}
	}
}

// follow signals changes; without a stream --watch still looks by itself.
func follow(ctx context.Context, c *api.Client, changed chan<- struct{}) {
	for ctx.Err() == nil {
		_ = c.Follow(ctx, 0, func(api.FeedItem) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		pause(ctx, watchEvery, nil)
	}
}

// pause waits for a time or an earlier signal, and reports false when the
// command is over.
func pause(ctx context.Context, d time.Duration, signal <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-signal:
	}
	return true
}

// redraw replaces what is on a terminal; anywhere else it appends.
func (a *app) redraw(screen []byte) {
	if onTerminal(a.out) {
		_, _ = io.WriteString(a.out, "\x1b[H\x1b[2J\x1b[3J")
	}
	_, _ = a.out.Write(screen)
}

// say tells what was done, unless the output is for programs.
func (a *app) say(format string, args ...any) {
	if a.output == "table" {
		_, _ = fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// ago is how long since t, roughly.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(time.Since(t)) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n), 0
	for value >= unit && exp < 4 {
		value /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[exp-1])
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
