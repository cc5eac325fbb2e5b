package main

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ops-updater/ops-updater/meta/api"
)

// otherWords are words that kubectl, nomad and the like have for what is done
// by another command here, or on another machine.
var otherWords = map[string]map[string]string{
	"ops-meta": {
		"get":        "list with ops-meta hosts, agents, releases, group list, hold list, rollout list; one host: ops-meta host NAME",
		"describe":   "ops-meta host NAME, ops-meta rollout show ROLLOUT, ops-meta explain HOST",
		"show":       "ops-meta host NAME, ops-meta rollout show ROLLOUT, ops-meta explain HOST",
		"logs":       "the log of a sidecar or an agent is on its host: ops-updater logs [AGENT]; what happened to a host: ops-meta host NAME; who did what: ops-meta audit",
		"events":     "ops-meta host NAME shows what happened to a host, ops-meta audit who did what",
		"undo":       "ops-meta rollout rollback ROLLOUT|AGENT",
		"rollback":   "ops-meta rollout rollback ROLLOUT|AGENT",
		"revert":     "ops-meta rollout rollback ROLLOUT|AGENT",
		"history":    "ops-meta rollout history [AGENT], or ops-meta audit",
		"pause":      "ops-meta rollout pause ROLLOUT, or ops-meta hold add",
		"resume":     "ops-meta rollout resume ROLLOUT, or ops-meta hold remove ID",
		"restart":    "ops-meta restarts nothing: deploy AGENT VERSION --cmd stop, then --cmd start; or on the host the agent's ./control restart",
		"start":      "an agent: ops-meta deploy AGENT VERSION --cmd start; the server: ops-meta serve",
		"stop":       "an agent: ops-meta deploy AGENT VERSION --cmd stop; the server ends by SIGTERM",
		"delete":     "ops-meta agents, releases, group, hold, assign, strategy or token remove",
		"create":     "ops-meta publish FILE, ops-meta agents set, group set, rollout create, token create",
		"run":        "ops-meta deploy AGENT VERSION",
		"set":        "ops-meta agents set, group set, assign set, strategy set, notify set",
		"drain":      "ops-meta hold add --host HOST keeps a host at what it has",
		"cordon":     "ops-meta hold add --host HOST keeps a host at what it has",
		"uncordon":   "ops-meta hold remove ID; ops-meta hold list shows it",
		"unhold":     "ops-meta hold remove ID; ops-meta hold list shows it",
		"config":     "ops-meta context list shows the servers you know; a server's settings: docs/SERVER.md",
		"use":        "ops-meta context use NAME",
		"job":        "ops-meta rollout, ops-meta agents",
		"version":    "ops-meta --version; the server's: ops-meta doctor",
		"plan":       "ops-meta diff -f FILE, or deploy --dry-run; of a schedule: ops-meta schedule plan NAME",
		"users":      "ops-meta token list",
		"deadletter": "ops-meta notify dead list",
	},
	"ops-meta rollout": {
		"restart": "ops-meta rollout retry ROLLOUT tries its failed hosts again; to start over: ops-meta deploy AGENT VERSION",
		"logs":    "ops-meta rollout show ROLLOUT has its history, ops-meta rollout hosts ROLLOUT --state failed why hosts failed",
		"delete":  "ops-meta rollout abort ROLLOUT ends it; what was is kept",
		"remove":  "ops-meta rollout abort ROLLOUT ends it; what was is kept",
		"set":     "a rollout never changes; ops-meta strategy set changes how the next one goes",
		"plan":    "ops-meta deploy AGENT VERSION --dry-run",
	},
	"ops-meta hold": {
		"set":    "ops-meta hold add, ops-meta hold remove ID",
		"status": "ops-meta hold list",
	},
	"ops-meta token": {
		"set":    "a token never changes: ops-meta token create NAME --role ROLE, ops-meta token remove ID|NAME",
		"rotate": "ops-meta token create NAME --role ROLE, then ops-meta token remove the old one",
	},
	"ops-meta agents": {
		"restart": "on the host: the agent's ./control restart; everywhere: ops-meta deploy AGENT VERSION --cmd stop, then --cmd start",
		"logs":    "on the host: ops-updater logs AGENT",
		"history": "ops-meta rollout history AGENT",
		"deploy":  "ops-meta deploy AGENT VERSION",
	},
	"ops-meta releases": {
		"add":    "ops-meta publish FILE",
		"create": "ops-meta publish FILE",
		"set":    "a release never changes: ops-meta publish FILE under a new version",
	},
}

// aliases are other tools' words for what is done by a command of ours.
var aliases = map[string][]string{
	"ops-meta status":            {"overview"},
	"ops-meta hosts":             {"nodes"},
	"ops-meta host":              {"node"},
	"ops-meta agents":            {"agent"},
	"ops-meta agents list":       {"ls", "get"},
	"ops-meta agents set":        {"create", "add", "update", "edit"},
	"ops-meta agents remove":     {"rm", "delete"},
	"ops-meta releases":          {"release", "versions"},
	"ops-meta releases list":     {"ls", "get", "history"},
	"ops-meta releases remove":   {"rm", "delete"},
	"ops-meta rollout":           {"rollouts", "deployment", "deployments"},
	"ops-meta rollout create":    {"run", "start", "new"},
	"ops-meta rollout list":      {"ls", "history"},
	"ops-meta rollout show":      {"status", "get", "describe", "view"},
	"ops-meta rollout approve":   {"promote"},
	"ops-meta rollout resume":    {"continue", "unpause"},
	"ops-meta rollout abort":     {"cancel", "stop", "fail"},
	"ops-meta rollout rollback":  {"undo", "revert"},
	"ops-meta assign":            {"assignment", "assignments"},
	"ops-meta assign list":       {"ls", "get"},
	"ops-meta assign set":        {"create", "add", "update", "edit"},
	"ops-meta assign remove":     {"rm", "delete"},
	"ops-meta group":             {"groups"},
	"ops-meta group list":        {"ls", "get"},
	"ops-meta group set":         {"create", "add", "update", "edit"},
	"ops-meta group remove":      {"rm", "delete"},
	"ops-meta hold":              {"holds"},
	"ops-meta hold list":         {"ls", "get"},
	"ops-meta hold add":          {"create", "new"},
	"ops-meta hold remove":       {"rm", "delete", "release"},
	"ops-meta strategy":          {"strategies"},
	"ops-meta strategy list":     {"ls", "get"},
	"ops-meta strategy set":      {"create", "add", "update", "edit"},
	"ops-meta strategy remove":   {"rm", "delete"},
	"ops-meta channel":           {"channels"},
	"ops-meta channel list":      {"ls"},
	"ops-meta channel show":      {"get", "history"},
	"ops-meta channel set":       {"create", "add", "move", "promote"},
	"ops-meta channel remove":    {"rm", "delete"},
	"ops-meta schedule":          {"schedules"},
	"ops-meta schedule list":     {"ls"},
	"ops-meta schedule show":     {"get", "status"},
	"ops-meta schedule plan":     {"dry-run", "forecast", "preview"},
	"ops-meta schedule set":      {"create", "add", "update", "edit"},
	"ops-meta schedule remove":   {"rm", "delete"},
	"ops-meta notify":            {"notification", "notifications"},
	"ops-meta notify list":       {"ls", "get"},
	"ops-meta notify set":        {"create", "add", "update", "edit"},
	"ops-meta notify remove":     {"rm", "delete"},
	"ops-meta notify dead list":  {"ls", "get"},
	"ops-meta notify dead retry": {"revive", "resend"},
	"ops-meta notify dead drop":  {"rm", "delete", "remove"},
	"ops-meta token":             {"tokens"},
	"ops-meta token list":        {"ls", "get"},
	"ops-meta token create":      {"add", "new"},
	"ops-meta token remove":      {"rm", "delete", "revoke"},
	"ops-meta key":               {"keys"},
	"ops-meta key list":          {"ls", "get", "show"},
	"ops-meta key new":           {"create", "generate", "make"},
	"ops-meta key revoke":        {"rm", "delete", "remove"},
	"ops-meta context":           {"contexts"},
	"ops-meta context list":      {"ls", "get"},
	"ops-meta context use":       {"switch", "set"},
	"ops-meta context remove":    {"rm", "delete"},
}

// refuseUnknownVerbs makes every command with subcommands say so when it is
// given a word that is none of them, and all errors about arguments usage
// errors.
func refuseUnknownVerbs(c *cobra.Command) {
	c.Aliases = append(c.Aliases, aliases[c.CommandPath()]...)
	switch rule := c.Args; {
	case c.HasSubCommands() && !c.Runnable():
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownVerb(c, args[0])
		}
	case rule != nil:
		c.Args = func(c *cobra.Command, args []string) error {
			if err := rule(c, args); err != nil {
				return wrongArgs(c, args, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		refuseUnknownVerbs(sub)
	}
}

// wrongArgs is what is wrong with the arguments of a command.
func wrongArgs(c *cobra.Command, args []string, err error) error {
	switch {
	case c.HasSubCommands() && len(args) > 0:
		return unknownVerb(c, args[0])
	case argsOf(c) == noArguments:
		return &usage{command: c, err: fmt.Errorf("%s takes no arguments, got %q", c.CommandPath(), strings.Join(args, " "))}
	case strings.HasPrefix(err.Error(), "accepts"):
		return &usage{command: c, err: fmt.Errorf("%s %w: want %s, got %s", c.CommandPath(), err, argsOf(c), orNone(args)), hint: "such as: " + c.UseLine()}
	}
	return &usage{command: c, err: err}
}

// argsOf is the arguments part of a command's usage.
func argsOf(c *cobra.Command) string {
	if _, args, ok := strings.Cut(c.Use, " "); ok {
		return args
	}
	return noArguments
}

const noArguments = "no arguments"

func orNone(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", strings.Join(args, " "))
}

// unknownVerb says which command was most likely meant by a word.
func unknownVerb(c *cobra.Command, word string) error {
	u := &usage{command: c, err: fmt.Errorf("%q is not a command of %s", word, c.CommandPath())}
	if hint := otherWords[c.CommandPath()][strings.ToLower(word)]; hint != "" {
		u.hint = hint
		return u
	}
	if near := nearestVerb(c, strings.ToLower(word)); near != nil {
		u.hint = "did you mean " + near.CommandPath() + "? " + c.CommandPath() + " --help lists all"
	}
	return u
}

// maxTypos is how many letters of a verb may be wrong.
const maxTypos = 2

// nearestVerb is the subcommand of which word is a beginning or a misspelling,
// if any.
func nearestVerb(c *cobra.Command, word string) (near *cobra.Command) {
	best := min(maxTypos, len(word)/2) + 1
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
			typos := levenshtein.ComputeDistance(word, name)
			if strings.HasPrefix(name, word) {
				typos = min(typos, 1)
			}
			if typos < best {
				near, best = sub, typos
			}
		}
	}
	return near
}

// wrongFlag is an error of a flag. Where a word before it is no command, that
// is what is wrong.
func wrongFlag(c *cobra.Command, err error) error {
	if words := c.Flags().Args(); c.HasSubCommands() && len(words) > 0 && argsOf(c) == noArguments {
		return unknownVerb(c, words[0])
	}
	u := &usage{command: c, err: err}
	if name, unknown := strings.CutPrefix(err.Error(), "unknown flag: "); unknown {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		if near := api.Nearest(name, names); near != "" {
			u.hint = "did you mean " + near + "? " + c.CommandPath() + " --help lists all"
		}
	}
	return u
}

// helpCommand is cobra's, except that a word which is no command is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Help about a command", RunE: func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		switch {
		case err != nil:
			return unknownVerb(c.Root(), args[0])
		case len(rest) > 0 && about.HasSubCommands():
			return unknownVerb(about, rest[0])
		}
		return about.Help()
	}}
}
