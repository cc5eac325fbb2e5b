package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// maxFile bounds a fleet file; the server takes no more either.
const maxFile = 8 << 20

func (a *app) exportCommand() *cobra.Command {
	return &cobra.Command{Use: "export", Short: "Print everything operators have said as a fleet file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		file, err := c.ExportFleet(cmd.Context())
		if err != nil {
			return err
		}
		switch {
		case a.output == "json":
			if file, err = yaml.YAMLToJSON(file); err != nil {
				return fmt.Errorf("cannot write the fleet file as JSON: %w", err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, bytes.TrimSpace(file), "", "  "); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, printable.JSON(indented.String()))
			return err
		case onTerminal(a.out):
			file = []byte(printable.Lines(string(file)))
		}
		_, err = a.out.Write(file)
		return err
	}}
}

func (a *app) diffCommand() *cobra.Command {
	return a.fleetCommand(&cobra.Command{Use: "diff -f FILE", Short: "What applying a fleet file would change"}, true)
}

func (a *app) applyCommand() *cobra.Command {
	return a.fleetCommand(&cobra.Command{
		Use: "apply -f FILE", Short: "Be as the fleet file says, all of it or nothing",
		Long: "Be as the fleet file says, all of it or nothing. Where it names another version than an assignment\n" +
			"has, that version goes out as a rollout with the agent's default strategy, as \"deploy\" would do it;\n" +
			"everything else is changed at once.",
	}, false)
}

func (a *app) fleetCommand(c *cobra.Command, dry bool) *cobra.Command {
	var path string
	o := api.ApplyOptions{DryRun: dry}
	c.Args = cobra.NoArgs
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		file, err := a.readFile(path)
		if err != nil {
			return err
		}
		plan, err := client.ApplyFleet(cmd.Context(), file, o)
		if err != nil {
			return err
		}
		return a.print(a.out, plan, func(w io.Writer) { a.printPlan(w, plan) })
	}
	c.Flags().StringVarP(&path, "file", "f", "", "the fleet file; - is the standard input")
	_ = c.MarkFlagRequired("file")
	c.Flags().BoolVar(&o.Now, "now", false, "a changed version goes to all hosts at once, without a rollout, also one that was taken back as bad")
	c.Flags().BoolVar(&o.Overwrite, "overwrite", false, "also take back what was changed after the file was exported")
	if !dry {
		c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would change")
	}
	return c
}

// readFile reads a file, or the standard input for "-".
func (a *app) readFile(path string) ([]byte, error) {
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("%s is larger than %d bytes", path, maxFile)}
	}
	return data, err
}

func (a *app) printPlan(w io.Writer, p api.Plan) {
	marks := map[string]cell{
		api.ChangeCreate: {"+", green}, api.ChangeUpdate: {"~", yellow}, api.ChangeDelete: {"-", red},
	}
	for _, ch := range p.Changes {
		mark := marks[ch.Action]
		writef(w, "%s\n", a.paint(a.out, mark.style, fmt.Sprintf("%s %s %s", mark.text, ch.Kind, ch.Name)))
		if ch.Action != api.ChangeUpdate {
			continue
		}
		for _, f := range ch.Fields {
			writef(w, "    %s: %s → %s%s\n", f.Field, orNothing(f.Before), orNothing(f.After), byRollout(ch, f, p.DryRun))
		}
		if ch.Warning != "" {
			writef(w, "    %s\n", a.paint(a.out, yellow, "warning: "+ch.Warning))
		}
	}
	switch {
	case len(p.Changes) == 0:
		writef(w, "nothing to change\n")
	case p.DryRun:
		writef(w, "%s to make\n", printable.Count(len(p.Changes), "change", "changes"))
	default:
		writef(w, "%s made\n", printable.Count(len(p.Changes), "change", "changes"))
	}
}

// byRollout says how a version changes that does not change at once.
func byRollout(ch api.FleetChange, f api.FieldChange, dry bool) string {
	switch {
	case ch.Strategy == "" || f.Field != "version":
		return ""
	case dry:
		return " by a rollout (strategy " + ch.Strategy + ")"
	}
	return " by rollout " + ch.Rollout + " (strategy " + ch.Strategy + ")"
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}
