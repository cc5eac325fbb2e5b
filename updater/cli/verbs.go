package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/timespan"
)

// aliases are other tools' words for our verbs.
var aliases = map[string][]string{
	"status": {"ps", "list", "ls", "describe", "get", "show"}, "check": {"doctor", "validate"}, "plan": {"diff"}, "explain": {"why"}, "logs": {"log", "tail"},
	"hold": {"pause", "pin"}, "unhold": {"resume", "unpause", "unpin", "release"}, "rollback": {"undo", "revert"}, "clear": {"retry"},
}

// otherWords are words for what is done elsewhere.
var otherWords = map[string]string{
	"start":   "./control start starts the sidecar; which agents run is the server's to say: ops-meta deploy",
	"stop":    "./control stop stops the sidecar, agents run on; an agent: ops-meta deploy AGENT VERSION --cmd stop",
	"restart": "./control restart restarts the sidecar; an agent: ./control restart in the directory of its version",
	"history": "ops-updater logs; what the server saw: ops-meta host NAME",
	"events":  "ops-updater logs; what the server saw: ops-meta host NAME",
	"version": "ops-updater --version; those of the agents: ops-updater status",
	"update":  "the server says which version runs: ops-meta deploy; to ask it once: ops-updater once",
	"upgrade": "the server says which version runs: ops-meta deploy; to ask it once: ops-updater once",
	"install": "the server says what runs here: ops-meta deploy; to ask it once: ops-updater once",
	"deploy":  "the server says what runs here: ops-meta deploy",
	"run":     "without a verb ops-updater runs in the foreground; ./control start in the background",
	"config":  "docs/CONFIG.md explains cfg.json; ops-updater check tries it, ops-updater reload reads it again",
	"remove":  "ops-updater uninstall takes the sidecar off this host; an agent: ops-meta assign remove",
}

// withOtherWords gives every verb its aliases and makes words that are none a
// mistake that names the nearest.
func withOtherWords(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(&cobra.Command{Use: "help [VERB]", Short: "help about a verb", RunE: func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		if err != nil || about == c.Root() && len(rest) > 0 {
			return unknownVerb(c.Root(), args[0])
		}
		return about.Help()
	}})
	for _, c := range root.Commands() {
		c.Aliases = append(c.Aliases, aliases[c.Name()]...)
		if c.HasSubCommands() && !c.Runnable() {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return c.Help()
				}
				return unknownVerb(c, args[0])
			}
		}
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if words := c.Flags().Args(); !c.HasParent() && len(words) > 0 {
			return unknownVerb(c, words[0])
		}
		return usageError{err}
	})
}

// unknownVerb says which verb was most likely meant.
func unknownVerb(c *cobra.Command, word string) error {
	err := fmt.Errorf("%q is not a verb", word)
	if hint := otherWords[strings.ToLower(word)]; hint != "" && !c.HasParent() {
		return hinted{usageError{err}, hint}
	}
	if near := c.SuggestionsFor(word); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, near[0])
	}
	return usageError{err}
}

// length is how long a hold lasts: 2h, 3d, or a plain number of seconds.
type length time.Duration

// String is the flag's text.
func (l *length) String() string {
	if *l == 0 {
		return ""
	}
	return time.Duration(*l).String()
}

// Set reads a number or a time with its unit.
func (l *length) Set(text string) error {
	d, err := timespan.In(timespan.Second, text)
	if err != nil {
		return err
	}
	if d == 0 {
		return errors.New("it wants a time above 0, such as 90s, 2h or 3d")
	}
	*l = length(d)
	return nil
}

// Type names the value in the help text.
func (l *length) Type() string { return "time" }
