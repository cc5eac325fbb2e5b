package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

// print writes v in the format that was asked for; human is the one for
// people. Lists go through [printList], so that all have one shape.
func (a *app) print(w io.Writer, v any, human func(io.Writer)) error {
	if a.output == "table" {
		var screen bytes.Buffer
		human(&screen)
		_, err := w.Write(onlyStyles(screen.Bytes(), onTerminal(a.out)))
		return err
	}
	data, err := json.MarshalIndent(withoutNulls(v), "", "  ")
	if err != nil {
		return err
	}
	text := printable.JSON(string(data))
	if a.output == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
		// YAML has no escapes outside of quotes: what does not show itself is
		// left in JSON, which is YAML too.
		if printable.Lines(string(data)) == string(data) {
			text = strings.TrimSuffix(string(data), "\n")
		}
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// printList prints a whole list: {"items": […]} for programs.
func printList[T any](a *app, w io.Writer, items []T, human func(io.Writer)) error {
	return a.print(w, api.Page[T]{Items: items}, human)
}

// withoutNulls is v with empty lists and maps where there are none, so that a
// program need not look for null before it goes through one.
func withoutNulls(v any) any {
	from := reflect.ValueOf(v)
	if !from.IsValid() {
		return v
	}
	own := reflect.New(from.Type()).Elem()
	own.Set(from)
	fillNil(own)
	return own.Interface()
}

var rawJSON = reflect.TypeFor[json.RawMessage]()

func fillNil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillNil(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() && v.Type() != rawJSON {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fillNil(v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
	}
}

// say tells what was done, unless the output is for programs.
func (a *app) say(format string, args ...any) {
	if a.output == "table" {
		writef(a.out, format+"\n", args...)
	}
}

// withCode is text and, in brackets, the code that programs match it by.
func withCode(text, code string) string {
	if code == "" {
		return text
	}
	return text + " (" + code + ")"
}

// ago is when t was.
func ago(t time.Time) string { return timespan.Ago(time.Now(), t) }
