package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

// length is a flag that says how long something lasts, with a unit or as a
// plain number of its own unit.
type length struct {
	n    *int          // in units
	unit time.Duration // of a plain number
}

// secondsVar is a flag in seconds: 90, 90s, 5m, 1h30m.
func secondsVar(f *pflag.FlagSet, n *int, name, about string) {
	f.Var(&length{n, time.Second}, name, about)
}

// String is the flag's text.
func (l *length) String() string {
	if l.n == nil || *l.n == 0 {
		return ""
	}
	return (time.Duration(*l.n) * l.unit).String()
}

// Set reads a number or a time with its unit.
func (l *length) Set(text string) error {
	n, err := timespan.Count(l.unit, text)
	if err == nil {
		*l.n = n
	}
	return err
}

// Type names the value in the help text.
func (l *length) Type() string { return "time" }

// labelsFlag is NAME=VALUE, as often as one likes; an empty one takes all
// labels away.
type labelsFlag struct{ labels *map[string]string }

// String is the flag's text.
func (l *labelsFlag) String() string {
	if l.labels == nil {
		return ""
	}
	var all []string
	for name, value := range *l.labels {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// Set reads one label.
func (l *labelsFlag) Set(text string) error {
	if text == "" {
		*l.labels = nil
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not a label: want NAME=VALUE", one)
		}
		if *l.labels == nil {
			*l.labels = map[string]string{}
		}
		(*l.labels)[name] = value
	}
	return nil
}

// Type names the value in the help text.
func (l *labelsFlag) Type() string { return "name=value" }

// patchOfFlags is a patch of the fields whose flags were given: field names by
// flag, and what the flags say.
func patchOfFlags(f *pflag.FlagSet, fields map[string]flagField) api.Patch {
	p := api.Patch{}
	for flag, field := range fields {
		if f.Changed(flag) {
			p[field.name] = field.value()
		}
	}
	return p
}

// flagField is a field of a noun and what its flag says of it.
type flagField struct {
	name  string
	value func() any
}

// field is a field that a flag sets to the value at p.
func field[T any](name string, p *T) flagField {
	return flagField{name, func() any { return *p }}
}

// list is a field that a flag sets to the entries at p; an empty entry stands
// for none at all.
func list(name string, p *[]string) flagField {
	return flagField{name, func() any {
		if len(*p) == 1 && (*p)[0] == "" {
			return nil
		}
		return *p
	}}
}

// refuseEmpty refuses a negative number of lines, and an argument or flag that is given and empty, as that of
// a variable that is not set. Taken as not given it would mean everyone, or
// another server. What a set command writes may be empty: that takes it away.
func refuseEmpty(c *cobra.Command, args []string) (err error) {
	for i, arg := range args {
		if arg == "" && !c.DisableFlagParsing { // completion is asked with empty words
			return &usage{command: c, err: fmt.Errorf("argument %d is empty: %s wants %s", i+1, c.CommandPath(), argsOf(c))}
		}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		switch text := f.Value.String(); {
		case text == "" && !mayBeEmpty(c, f):
			err = &usage{command: c, err: fmt.Errorf("--%s is empty", f.Name), hint: "give it a value, or leave it out"}
		case (f.Name == "limit" || f.Name == "events") && strings.HasPrefix(text, "-"):
			err = &usage{command: c, err: fmt.Errorf("--%s %s: there is no such number of lines", f.Name, text)}
		}
	})
	return err
}

// mayBeEmpty reports whether an empty value of a flag says something.
func mayBeEmpty(c *cobra.Command, f *pflag.Flag) bool {
	_, scope := f.Annotations[ofScope]
	written := c.Name() == "set" && c.LocalNonPersistentFlags().Lookup(f.Name) != nil && !scope
	return written || f.Name == "reason" || f.Name == "notes"
}

// ofScope is the annotation of a flag that says for which hosts something is.
const ofScope = "ops-meta-scope"
