package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) importCommand() *cobra.Command {
	var o api.ImportOptions
	var login fetchLogin
	c := &cobra.Command{
		Use: "import FILE", Short: "Take the cfg.json of an older ops-meta", Args: cobra.ExactArgs(1),
		Long: `Take the cfg.json of an older ops-meta. Its tarballs are fetched, hashed and kept, and
it is applied as one piece: when a part of it cannot be taken nothing is, the parts
are listed and the exit code is not 0. --partial takes the rest all the same.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.As, err = login.fetchAs(); err != nil {
				return err
			}
			return a.importConfig(cmd.Context(), args[0], o)
		},
	}
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say how it would be taken")
	c.Flags().BoolVar(&o.Partial, "partial", false, "take what can be taken, and say what was left out")
	login.addFlags(c)
	return c
}

func (a *app) importConfig(ctx context.Context, path string, o api.ImportOptions) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	file, err := a.readFile(path)
	if err != nil {
		return err
	}
	report, err := c.ImportConfig(ctx, file, o)
	if err != nil {
		return err
	}
	err = a.print(a.out, report, func(w io.Writer) {
		for _, n := range report.Import.Taken {
			writef(w, "%s: %s\n", n.Path, n.Note)
		}
		for _, n := range report.Import.Refused {
			writef(w, "%s\n", a.paint(a.out, red, fmt.Sprintf("%s: left out: %s", n.Path, n.Note)))
		}
		a.printPlan(w, report.Plan)
	})
	if left := len(report.Import.Refused); err == nil && left > 0 && !o.Partial {
		return &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("nothing was changed: %s of %s cannot be taken", printable.Count(left, "part", "parts"), path),
			Hint: "mend what is listed and import again, or take the rest with --partial",
		}
	}
	return err
}

// fetchLogin is what the server needs to fetch from a place that asks for a
// login or has an authority of its own.
type fetchLogin struct{ user, passwordFile, caFile string }

func (l *fetchLogin) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.user, "user", "", "login of the place with the tarballs: NAME or NAME:PASSWORD, with @HOST where there are several places")
	f.StringVar(&l.passwordFile, "password-file", "", "file with the password (default OPS_META_FETCH_PASSWORD)")
	f.StringVar(&l.caFile, "ca-file", "", "PEM file of the authority that vouches for that place")
}

func (l *fetchLogin) fetchAs() (as api.FetchAs, err error) {
	name, host := l.user, ""
	if at := strings.LastIndex(name, "@"); at >= 0 {
		name, host = name[:at], name[at+1:]
	}
	as.Host = host
	given := false
	if as.User, as.Password, given = strings.Cut(name, ":"); !given {
		as.Password = os.Getenv("OPS_META_FETCH_PASSWORD")
	}
	if l.passwordFile != "" {
		if as.Password, err = readSmall(l.passwordFile); err != nil {
			return as, fmt.Errorf("cannot read the password: %w", err)
		}
	}
	if as.User == "" {
		as.Password = ""
	}
	if l.caFile != "" {
		if as.CA, err = readSmall(l.caFile); err != nil {
			return as, fmt.Errorf("cannot read the authority's certificate: %w", err)
		}
	}
	return as, nil
}

// maxSmall bounds a file with a password or certificates: they travel in a
// request's header.
const maxSmall = 32 << 10

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSmall)
	}
	return strings.TrimSpace(string(data)), err
}
