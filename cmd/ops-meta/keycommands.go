package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func (a *app) keyAddCommand() *cobra.Command {
	n := nextList{app: a}
	var use, name string
	var until lifetimeFlag
	c := &cobra.Command{
		Use: "add PUB", Short: "Have another key count", Args: cobra.ExactArgs(1),
		Long:    "Make and sign a list of keys in which one more counts. PUB is the public key, RW…,\nor its .pub file. The first list also names the key with which the server signs.",
		Example: "  ops-meta key add release.pub --use release --root root.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("use", use, []string{string(trust.UseRelease), string(trust.UseServer)}); err != nil {
				return err
			}
			k, err := publicKey(args[0])
			if err != nil {
				return err
			}
			return n.make(cmd.Context(), func(n *nextList) error {
				if hasKey(n.list, k.ID()) {
					return &api.Error{Kind: api.KindExists, Message: "key " + k.ID() + " counts already"}
				}
				n.list.Keys = append(n.list.Keys, trust.Key{Key: k, Use: trust.Use(use), Name: name, NotAfter: until.end()})
				return nil
			})
		},
	}
	c.Flags().StringVar(&use, "use", "", "release or server")
	c.Flags().StringVar(&name, "name", "", "whose it is, for people")
	c.Flags().Var(&until, "expires", "how long it counts, such as 365d; until it is revoked unless told")
	_ = c.MarkFlagRequired("use")
	n.addFlags(c)
	return c
}

// lifetimeFlag is how long a key counts.
type lifetimeFlag struct{ d time.Duration }

func (l *lifetimeFlag) Set(text string) (err error) {
	l.d, err = timespan.Parse(text)
	if err == nil && l.d <= 0 {
		err = errors.New("want a time such as 90d")
	}
	return err
}

func (l *lifetimeFlag) String() string {
	if l.d == 0 {
		return ""
	}
	return l.d.String()
}

// Type names the value in the help text.
func (l *lifetimeFlag) Type() string { return "time" }

func (l *lifetimeFlag) end() time.Time {
	if l.d == 0 {
		return time.Time{}
	}
	return time.Now().Add(l.d).UTC().Truncate(time.Second)
}

func (a *app) keyRotateCommand() *cobra.Command {
	n := nextList{app: a}
	var keep lifetimeFlag
	c := &cobra.Command{
		Use: "rotate", Short: "Have the server sign with a new key", Args: cobra.NoArgs,
		Long: `Have the server sign replies with a new key, which it makes, unless one waits. With
--root the list of keys names the new one in place of the old, and hosts take both
over with one reply. Without it, hosts must know the key that waits from their
trust.server_keys already: ops-meta key new --use server makes it beforehand.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n.root == "" {
				return a.rotateWithoutList(cmd.Context())
			}
			if n.from != "" {
				return &usage{command: cmd, err: errors.New("the server makes its key, so its list is the one to begin with: --from makes no sense here")}
			}
			return n.rotate(cmd.Context(), &keep)
		},
	}
	n.addFlags(c)
	delete(c.Flags().Lookup("root").Annotations, cobra.BashCompOneRequiredFlag)
	c.Flags().Var(&keep, "keep", "how long the old key still counts, such as 1h; not at all unless told")
	return c
}

// rotateWithoutList is for hosts that know the new key from their cfg.json.
func (a *app) rotateWithoutList(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r, err := c.RotateServerKey(ctx)
	if err != nil {
		return err
	}
	return a.print(a.out, r, func(w io.Writer) {
		for _, k := range r.Own {
			if k.Signs {
				writef(w, "server key %s signs replies from now on\n", k.ID)
			}
		}
	})
}

func (n *nextList) rotate(ctx context.Context, keep *lifetimeFlag) error {
	return n.make(ctx, func(n *nextList) error {
		c, err := n.client()
		if err != nil {
			return err
		}
		old := ""
		for _, k := range n.told.Own {
			if k.Signs {
				old = k.ID
			}
		}
		made, err := c.MakeServerKey(ctx)
		if err != nil {
			return err
		}
		key, err := trust.ParsePublicKey(made.Key)
		if err != nil {
			return fmt.Errorf("cannot read the server's new key: %w", err)
		}
		n.list.Keys = slices.DeleteFunc(n.list.Keys, func(k trust.Key) bool { return k.Key.ID() == old && keep.d == 0 || k.Key.ID() == made.ID })
		for i := range n.list.Keys {
			if n.list.Keys[i].Key.ID() == old {
				n.list.Keys[i].NotAfter = keep.end()
			}
		}
		n.list.Keys = append(n.list.Keys, trust.Key{Key: key, Use: trust.UseServer, Name: "ops-meta"})
		return nil
	})
}

func (a *app) keyRevokeCommand() *cobra.Command {
	n := nextList{app: a}
	c := &cobra.Command{
		Use: "revoke ID", Short: "Have a key count no more", Args: cobra.ExactArgs(1),
		Long: `Make and sign a list of keys without one. What it signed is installed no more, and
what runs on is not stopped. Where ID is a root key, or a key of the server's that waits, the
server forgets it, and no list is made: hosts have their root keys in cfg.json.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id := wholeID(args[0])
			if n.root == "" {
				return a.forgetKey(cmd.Context(), id)
			}
			return n.make(cmd.Context(), func(n *nextList) error {
				if !hasKey(n.list, id) {
					return &api.Error{Kind: api.KindNotFound, Message: "there is no key " + id + " in the list of keys", Hint: "ops-meta key list shows those that count"}
				}
				n.list.Keys = slices.DeleteFunc(n.list.Keys, func(k trust.Key) bool { return k.Key.ID() == id })
				return nil
			})
		},
	}
	n.addFlags(c)
	delete(c.Flags().Lookup("root").Annotations, cobra.BashCompOneRequiredFlag)
	return c
}

// wholeID is a key's id with the zeros in front that minisign leaves out of its files.
func wholeID(id string) string {
	const digits = 16
	return strings.Repeat("0", max(digits-len(id), 0)) + strings.ToUpper(id)
}

func (a *app) forgetKey(ctx context.Context, id string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := c.DeleteKey(ctx, id); err != nil {
		return err
	}
	a.say("key %s forgotten", id)
	return nil
}

func (a *app) keyBumpCommand() *cobra.Command {
	n := nextList{app: a}
	c := &cobra.Command{
		Use: "bump", Short: "Sign the same keys again, in a new epoch", Args: cobra.NoArgs,
		Long: `Sign the list of keys again, in an epoch above all that hosts have heard. Hosts with a root
key begin to count serials anew in it: the way out after ops-meta was restored from an
old backup, or somebody who had the server's key drove the serial up (rotate that key
instead). Look at the keys first: what was revoked after the backup is in the list again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return n.make(cmd.Context(), func(*nextList) error { return nil })
		},
	}
	n.addFlags(c)
	return c
}

func (a *app) keyPublishCommand() *cobra.Command {
	var root string
	var p api.PublishKeyList
	c := &cobra.Command{
		Use: "publish LIST", Short: "Give the server a list of keys that was signed elsewhere", Args: cobra.ExactArgs(1),
		Long: "Give the server a list of keys that was signed elsewhere, with --to LIST. The server\nchecks it against the root keys that it knows; the first time --root-key says which.",
		RunE: func(cmd *cobra.Command, args []string) error {
			signed, err := readList(args[0])
			if err != nil {
				return err
			}
			p.List = signed
			if root != "" {
				k, err := publicKey(root)
				if err != nil {
					return err
				}
				p.Root = k.String()
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			r, err := client.PublishKeyList(cmd.Context(), p)
			if err != nil {
				return err
			}
			return a.sayPublished(r)
		},
	}
	c.Flags().StringVar(&root, "root-key", "", "public key (RW… or a .pub file) of the root key that signed it")
	c.Flags().BoolVar(&p.TrustRoot, "trust-root", false, "have the server know this root key beside those that it knows")
	c.Flags().BoolVar(&p.Force, "force", false, "also a list that does not name the server's own key")
	return c
}
