package main

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/internal/printable"
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

// painted is text that is fit for a terminal, with its style.
type painted string

// paint makes text fit for a terminal and gives it a style where w is one.
func (a *app) paint(w io.Writer, s style, text string) painted {
	text = printable.Text(text)
	if s == "" || a.plain || !onTerminal(w) {
		return painted(text)
	}
	return painted(string(s) + text + string(normal))
}

// writef is fmt.Fprintf for people: what hosts and other operators wrote is
// made fit for a terminal, and stays on its line.
func writef(w io.Writer, format string, args ...any) {
	for i, arg := range args {
		args[i] = printableArg(arg)
	}
	_, _ = fmt.Fprintf(w, format, args...)
}

func printableArg(arg any) any {
	switch v := arg.(type) {
	case nil, painted:
		return arg
	case error:
		return printable.Text(v.Error())
	case fmt.Stringer:
		return printable.Text(v.String())
	}
	if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
		return printable.Text(v.String())
	}
	return arg
}

// onlyStyles is a screen without any control character but line feeds and,
// on a terminal, our own styles: whatever forgot [writef].
func onlyStyles(screen []byte, terminal bool) []byte {
	if !terminal {
		return []byte(printable.Lines(string(screen)))
	}
	var out bytes.Buffer
	for len(screen) > 0 {
		start := bytes.IndexByte(screen, '\x1b')
		if start < 0 {
			start = len(screen)
		}
		out.WriteString(printable.Lines(string(screen[:start])))
		screen = screen[start:]
		screen = screen[passStyle(&out, screen):]
	}
	return out.Bytes()
}

// passStyle writes the style that screen begins with, if it is one of ours,
// and returns how much of screen is done with.
func passStyle(out *bytes.Buffer, screen []byte) int {
	if len(screen) == 0 {
		return 0
	}
	for _, s := range []style{red, green, yellow, bold, dim, normal} {
		if bytes.HasPrefix(screen, []byte(s)) {
			out.WriteString(string(s))
			return len(s)
		}
	}
	out.WriteByte(' ')
	return 1
}

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
		for i := range row {
			row[i].text = printable.Text(row[i].text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(string(a.paint(a.out, c.style, c.text)))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
