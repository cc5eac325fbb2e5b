package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Bounds of a template that somebody wrote. text/template cannot be stopped,
// so a step that can fail is put into whatever may be repeated: the bodies of
// loops, and the templates that are called by name.
const (
	maxTemplate = 32 << 10 // bytes of its text
	maxValue    = 64 << 10 // bytes of what a function makes
	maxSteps    = 20_000
	maxTime     = time.Second
)

// budget is what one filling-in may cost.
type budget struct {
	steps int
	end   time.Time
}

func newBudget(now time.Time) *budget { return &budget{steps: maxSteps, end: now.Add(maxTime)} }

var (
	errSteps = fmt.Errorf("it takes more than %d steps", maxSteps)
	errLong  = fmt.Errorf("it takes longer than %v", maxTime)
	errValue = fmt.Errorf("a function in it makes more than %d KiB", maxValue>>10)
)

// spend takes steps, and says when there are no more.
func (b *budget) spend(steps int) error {
	if b.steps -= steps; b.steps < 0 {
		return errSteps
	}
	if b.steps%64 == 0 && time.Now().After(b.end) {
		return errLong
	}
	return nil
}

// step is what loops call; it writes nothing.
func (b *budget) step() (string, error) { return "", b.spend(1) }

// boundFunction makes a function of texts one that costs what it is given and makes.
func (b *budget) boundFunction(f func(args ...any) (string, error)) func(args ...any) (string, error) {
	return func(args ...any) (string, error) {
		given := 0
		for _, a := range args {
			if s, ok := a.(string); ok {
				given += len(s)
			}
		}
		if err := b.spend(1 + given/256); err != nil {
			return "", err
		}
		if given > maxValue {
			return "", errValue
		}
		s, err := f(args...)
		if err == nil && len(s) > maxValue {
			err = errValue
		}
		return s, err
	}
}

// boundFunctions are those of templates, the built-in ones that make texts among
// them.
func (b *budget) boundFunctions() template.FuncMap {
	plain := func(f func(args ...any) string) any {
		return b.boundFunction(func(args ...any) (string, error) { return f(args...), nil })
	}
	of := func(f func(string) string) any {
		one := b.boundFunction(func(args ...any) (string, error) { return f(args[0].(string)), nil })
		return func(s string) (string, error) { return one(s) }
	}
	return template.FuncMap{
		stepName: b.step, "upper": of(strings.ToUpper), "lower": of(strings.ToLower),
		"join": func(sep string, list []string) (string, error) {
			if len(sep) > maxValue/max(len(list), 1) {
				return "", errValue
			}
			return b.boundFunction(func(...any) (string, error) { return strings.Join(list, sep), nil })(sep)
		},
		"json": func(v any) (string, error) {
			return b.boundFunction(func(args ...any) (string, error) {
				data, err := json.Marshal(args[0])
				return string(data), err
			})(v)
		},
		"print": plain(fmt.Sprint), "println": plain(fmt.Sprintln), "html": plain(template.HTMLEscaper),
		"js": plain(template.JSEscaper), "urlquery": plain(template.URLQueryEscaper),
		"printf": func(format string, args ...any) (string, error) {
			return b.boundFunction(func(args ...any) (string, error) {
				if wide.MatchString(args[0].(string)) {
					return "", errors.New("a width or precision in a format is larger than 999, or a *")
				}
				return fmt.Sprintf(args[0].(string), args[1:]...), nil
			})(append([]any{format}, args...)...)
		},
	}
}

// wide finds verbs that would make more of their argument than it is.
var wide = regexp.MustCompile(`%[-+# 0-9.\[\]]*(?:\*|[0-9]{4})`)

// stepName is the function that is put into loops. Nobody can write it.
const stepName = "_step"

// parseBounded reads a template and puts steps into it.
func parseBounded(name, source string, b *budget) (*template.Template, error) {
	if len(source) > maxTemplate {
		return nil, fmt.Errorf("it has more than %d KiB", maxTemplate>>10)
	}
	t, err := template.New(name).Funcs(b.boundFunctions()).Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, err
	}
	for _, defined := range t.Templates() {
		if defined.Tree != nil && defined.Root != nil {
			putSteps(defined.Root)
			prependStep(defined.Root)
		}
	}
	return t, nil
}

// putSteps walks a list and everything in it.
func putSteps(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			putSteps(n.List)
			putSteps(n.ElseList)
			prependStep(n.List)
		case *parse.IfNode:
			putSteps(n.List)
			putSteps(n.ElseList)
		case *parse.WithNode:
			putSteps(n.List)
			putSteps(n.ElseList)
		}
	}
}

// prependStep makes a call of the step the first thing in a list.
func prependStep(list *parse.ListNode) {
	trees, err := parse.Parse("step", "{{"+stepName+"}}", "", "", map[string]any{stepName: true})
	if err != nil {
		panic(err) // the text is a constant
	}
	list.Nodes = append([]parse.Node{trees["step"].Root.Nodes[0]}, list.Nodes...)
}
