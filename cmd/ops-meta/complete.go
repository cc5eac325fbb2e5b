package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta/api"
)

// completeWithin bounds what the shell waits for: rather nothing than a
// prompt that hangs.
const completeWithin = 1500 * time.Millisecond

// lister lists names that a server knows; before are the arguments so far.
type lister func(ctx context.Context, c *api.Client, before []string) ([]string, error)

// listers are what can be completed, by what arguments and flags are called.
var listers = map[string]lister{
	"AGENT": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) { return agentNames(ctx, c) },
	"GROUP": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) { return groupNames(ctx, c) },
	"VERSION": func(ctx context.Context, c *api.Client, before []string) ([]string, error) {
		if len(before) == 0 {
			return nil, nil
		}
		page, err := c.Releases(ctx, api.ListOptions{Agent: before[0], Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(r api.Release) string { return r.Version }), err
	},
	"HOST": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Hosts(ctx, api.HostQuery{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(h api.Host) string { return h.Name }), err
	},
	"ROLLOUT": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Rollouts(ctx, api.ListOptions{Limit: 200})
		return api.NamesOf(page.Items, func(r api.Rollout) string {
			return r.ID + "\t" + r.Agent + " " + r.Version + " " + string(r.State)
		}), err
	},
	"STRATEGY": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Strategies(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(s api.Strategy) string { return s.Name }), err
	},
	"SCHEDULE": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Schedules(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(s api.Schedule) string { return s.Name }), err
	},
	"CHANNEL": func(ctx context.Context, c *api.Client, before []string) ([]string, error) {
		o := api.ListOptions{Limit: api.MaxPage}
		if len(before) > 0 {
			o.Agent = before[0]
		}
		page, err := c.Channels(ctx, o)
		return api.NamesOf(page.Items, func(ch api.Channel) string { return ch.Name }), err
	},
	"TARGET": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.NotifyTargets(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(t api.NotifyTarget) string { return t.Name }), err
	},
	"TOKEN": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Tokens(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(t api.Token) string { return t.Name }), err
	},
	"USER": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Users(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(u api.User) string { return u.Name }), err
	},
	"SESSION": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Sessions(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(s api.Session) string { return s.ID + "\t" + s.Name + " from " + s.From }), err
	},
	"HOLD": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		page, err := c.Holds(ctx, api.ListOptions{Limit: api.MaxPage})
		return api.NamesOf(page.Items, func(h api.Hold) string { return h.ID + "\t" + h.Scope.String() + " " + h.Reason }), err
	},
	"ARCH": func(ctx context.Context, c *api.Client, _ []string) ([]string, error) {
		o, err := c.Overview(ctx)
		var arches []string
		for arch := range o.Arches {
			arches = append(arches, arch)
		}
		return arches, err
	},
}

// fixed are words that need no server.
var fixed = map[string][]string{
	"output": {"table", "json", "yaml"}, "cmd": {"start", "stop"}, "on-failure": {api.OnFailurePause, api.OnFailureAbort, api.OnFailureRollback},
	"role": {"viewer", "operator", "admin", "enroll"}, "phase": api.Phases(), "status": {"started", "stoped", "unknown"},
}

// addCompletions lets the shell complete the arguments and flags of c and of all
// commands below it.
func (a *app) addCompletions(c *cobra.Command) {
	kinds := argKinds(c)
	if c.ValidArgsFunction == nil && len(kinds) > 0 {
		c.ValidArgsFunction = func(_ *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(kinds) || listers[kinds[len(args)]] == nil {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.completeNames(listers[kinds[len(args)]], args, text)
		}
	}
	for flag, kind := range map[string]string{"agent": "AGENT", "group": "GROUP", "host": "HOST", "strategy": "STRATEGY", "arch": "ARCH", "agents": "AGENT"} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
				return a.completeNames(listers[kind], args, text)
			})
		}
	}
	for flag, words := range fixed {
		if c.Flags().Lookup(flag) != nil || c.PersistentFlags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for _, sub := range c.Commands() {
		a.addCompletions(sub)
	}
}

// argKinds is what the arguments of a command are, by its usage: NAME is what
// the command is about.
func argKinds(c *cobra.Command) (kinds []string) {
	about := map[string]string{
		"agents": "AGENT", "group": "GROUP", "host": "HOST", "strategy": "STRATEGY", "schedule": "SCHEDULE", "notify": "TARGET", "releases": "AGENT", "hold": "HOLD", "token": "TOKEN", "user": "USER", "session": "SESSION",
	}
	for _, word := range strings.Fields(c.Use)[1:] {
		word = strings.Trim(word, "[].")
		word, _, _ = strings.Cut(word, "|")
		if word == "NAME" || word == "ID" {
			word = about[c.Name()]
			if word == "" && c.HasParent() {
				word = about[c.Parent().Name()]
			}
		}
		kinds = append(kinds, word)
	}
	return kinds
}

// completeNames asks the server, in bounded time and without a word when it cannot.
func (a *app) completeNames(list lister, args []string, text string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := list(ctx, c, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var matching []string
	for _, name := range all {
		if strings.HasPrefix(name, text) {
			matching = append(matching, name)
		}
	}
	return matching, cobra.ShellCompDirectiveNoFileComp
}
