package server

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/ops-updater/ops-updater/internal/timespan"
)

// Seconds is a length of time in the configuration: 90, 90s or 5m.
type Seconds int

// Set reads it as it is written in a file, the environment or a flag.
func (s *Seconds) Set(text string) (err error) {
	*(*int)(s), err = timespan.Count(timespan.Second, text)
	return err
}

// String is the flag's text.
func (s *Seconds) String() string {
	if *s == 0 {
		return ""
	}
	return (time.Duration(*s) * timespan.Second).String()
}

// Type names the value in the help text.
func (s *Seconds) Type() string { return "time" }

// UnmarshalYAML reads the value of a key.
func (s *Seconds) UnmarshalYAML(n ast.Node) error { return setFromYAML(s.Set, n) }

// Days is a length of time in the configuration: 90, 90d or 48h.
type Days int

// Set reads it as it is written in a file or the environment.
func (d *Days) Set(text string) (err error) {
	*(*int)(d), err = timespan.Count(timespan.Day, text)
	return err
}

// UnmarshalYAML reads the value of a key.
func (d *Days) UnmarshalYAML(n ast.Node) error { return setFromYAML(d.Set, n) }

// setFromYAML sets a length of time to what stands in a file, and says where
// that is when it is none.
func setFromYAML(set func(string) error, n ast.Node) error {
	scalar, ok := n.(ast.ScalarNode)
	if !ok {
		return &yaml.SyntaxError{Message: "want a time such as 90s, 5m, 1h30m or 2d", Token: n.GetToken()}
	}
	if scalar.GetValue() == nil {
		return nil
	}
	if err := set(fmt.Sprint(scalar.GetValue())); err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	return nil
}
