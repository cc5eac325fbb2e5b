package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// nextList is a list of keys on its way: what it begins with, and how it is signed.
type nextList struct {
	*app
	root     string   // file of the root key that signs
	others   []string // public root keys that may have signed the present list
	from, to string   // files of lists, in place of the server
	epoch    int64    // 0: the next one
	password passwordOf
	yes      bool
	trust    bool
	force    bool

	key  trust.PrivateKey
	list trust.KeyList
	told api.KeyReport // by the server
}

func (n *nextList) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&n.root, "root", "", "file of the root key that signs the list")
	f.StringVar(&n.password.file, "password-file", "", "file with the root key's password")
	f.StringArrayVar(&n.others, "root-key", nil, "public key (RW… or a .pub file) of another root key, which signed the present list")
	f.StringVar(&n.from, "from", "", "file of the list to begin with, in place of the server's; - for none")
	f.StringVar(&n.to, "to", "", "file to write the list to, in place of giving it to the server")
	f.Int64Var(&n.epoch, "epoch", 0, "the list's epoch (default the next one)")
	f.BoolVar(&n.yes, "yes", false, "sign without asking")
	f.BoolVar(&n.trust, "trust-root", false, "have the server know this root key beside those that it knows")
	f.BoolVar(&n.force, "force", false, "also a list that does not name the server's own key")
	_ = c.MarkFlagRequired("root")
}

// make makes the next list: change says what is different, and gets what the server
// told when there is one.
func (n *nextList) make(ctx context.Context, change func(*nextList) error) error {
	var err error
	if n.key, err = n.privateKey(n.root, n.password); err != nil {
		return err
	}
	var c *api.Client
	if n.from == "" || n.to == "" {
		if c, err = n.client(); err != nil {
			return err
		}
		if n.told, err = c.Keys(ctx); err != nil {
			return err
		}
	}
	if err := n.begin(); err != nil {
		return err
	}
	before := trust.KeyList{} // a first list is new as a whole
	if n.list.Epoch > 0 {
		before.Keys = slices.Clone(n.list.Keys)
	}
	if err := change(n); err != nil {
		return err
	}
	if err := n.raiseEpoch(); err != nil {
		return err
	}
	n.list.Issued = time.Now().UTC().Truncate(time.Second)
	if err := n.confirm(before); err != nil {
		return err
	}
	signed, err := n.key.SignList(n.list)
	if err != nil {
		return err
	}
	if n.to != "" {
		return n.writeList(signed)
	}
	report, err := c.PublishKeyList(ctx, api.PublishKeyList{List: signed, Root: n.key.Public().String(), TrustRoot: n.trust, Force: n.force})
	if err != nil {
		return err
	}
	return n.sayPublished(report)
}

// begin reads the present list. It is not taken at the server's word: a root key must
// have signed it, or a server that was taken over could slip in a key of its own.
func (n *nextList) begin() error {
	signed := n.told.List
	if n.from == "-" {
		signed = nil
	} else if n.from != "" {
		s, err := readList(n.from)
		if err != nil {
			return err
		}
		signed = &s
	}
	if signed == nil {
		n.list = trust.KeyList{}
		for _, own := range n.told.Own {
			k, err := trust.ParsePublicKey(own.Key)
			if err != nil {
				return fmt.Errorf("cannot read the server's key: %w", err)
			}
			if own.Signs {
				n.list.Keys = append(n.list.Keys, trust.Key{Key: k, Use: trust.UseServer, Name: "ops-meta"})
			}
		}
		return nil
	}
	roots := trust.Keys{n.key.Public()}
	for _, text := range n.others {
		k, err := publicKey(text)
		if err != nil {
			return err
		}
		roots = append(roots, k)
	}
	list, err := signed.Verify(roots)
	if err != nil {
		return &api.Error{
			Kind: api.KindInvalid, Message: "the present list of keys cannot be verified: " + err.Error(),
			Hint: "if another root key signed it, give its public part: --root-key PUB; never sign a list that you cannot verify",
		}
	}
	n.list = list
	return nil
}

// farAhead is how far ahead of the list's epoch a host's is believed: anybody who can send
// heartbeats could otherwise use the numbers up.
const farAhead = 1000

func (n *nextList) raiseEpoch() error {
	present, heard := n.list.Epoch, n.told.Hosts.Highest
	switch {
	case n.epoch > 0 && n.epoch <= present:
		return &api.Error{Kind: api.KindInvalid, Field: "epoch", Message: fmt.Sprintf("epoch %d is not above that of the present list, %d", n.epoch, present)}
	case n.epoch > 0:
		n.list.Epoch = n.epoch
	case heard-present > farAhead:
		return &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("a host says that it heard epoch %d, the list is of epoch %d: that is too far to be likely", heard, present),
			Hint: "ops-meta hosts -o json shows which host; say which epoch the list shall have: --epoch N",
		}
	default:
		n.list.Epoch = max(present, heard) + 1
	}
	if heard > present {
		n.warn("hosts have heard a list of epoch %d, which is not here: what was added or revoked in it is not in this one, unless you say so now", heard)
	}
	return nil
}

func (n *nextList) warn(format string, args ...any) {
	writef(n.err, "%s %s\n", n.paint(n.err, yellow, "ops-meta: warning:"), fmt.Sprintf(format, args...))
}

// confirm shows what will count, and asks whether that is meant.
func (n *nextList) confirm(before trust.KeyList) error {
	writef(n.err, "epoch %d, signed with root key %s; these keys count from then on:\n", n.list.Epoch, n.key.Public().ID())
	for _, k := range n.list.Keys {
		line := fmt.Sprintf("  %s  %-7s", k.Key.ID(), k.Use)
		if k.Name != "" {
			line += "  " + k.Name
		}
		if !k.NotAfter.IsZero() {
			line += "  until " + k.NotAfter.Local().Format("2006-01-02 15:04")
		}
		if !hasKey(before, k.Key.ID()) {
			line += "  (new)"
		}
		writef(n.err, "%s\n", line)
	}
	for _, k := range before.Keys {
		if !hasKey(n.list, k.Key.ID()) {
			writef(n.err, "  %s  %-7s  %s\n", k.Key.ID(), k.Use, n.paint(n.err, red, "no longer"))
		}
	}
	for _, use := range []trust.Use{trust.UseRelease, trust.UseServer} {
		if len(n.list.Of(use, time.Now())) == 0 {
			n.warn("no %s key counts: hosts that verify will refuse everything that one would sign", use)
		}
	}
	if n.yes {
		return nil
	}
	f, ok := n.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &api.Error{Kind: api.KindInvalid, Message: "nothing was signed: there is no terminal to ask whether that is meant", Hint: "if it is: --yes"}
	}
	_, _ = fmt.Fprint(n.err, "sign it? [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(f, 64)).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return &api.Error{Kind: api.KindConflict, Message: "nothing was signed"}
	}
	return nil
}

func hasKey(l trust.KeyList, id string) bool {
	return slices.ContainsFunc(l.Keys, func(k trust.Key) bool { return k.Key.ID() == id })
}

func (n *nextList) writeList(signed trust.SignedList) error {
	data, err := json.MarshalIndent(signed, "", "  ")
	if err != nil {
		return err
	}
	if err := writeNewFile(n.to, append(data, '\n'), 0o644); err != nil {
		return err
	}
	n.say("list of keys of epoch %d in %s; give it to the server: ops-meta key publish %s --root-key PUB", n.list.Epoch, n.to, n.to)
	return nil
}

func (a *app) sayPublished(r api.KeyReport) error {
	return a.print(a.out, r, func(w io.Writer) {
		writef(w, "list of keys of epoch %d published; hosts hear of it with their next heartbeat\n", r.Epoch)
		if len(r.Roots) == 1 {
			writef(w, "the server takes further lists from root key %s; hosts go by trust.root_keys of their own cfg.json\n", r.Roots[0].ID)
		}
	})
}

// publicKey reads a public key: RW…, or its .pub file.
func publicKey(text string) (trust.PublicKey, error) {
	k, err := trust.ParsePublicKey(text)
	if err == nil {
		return k, nil
	}
	data, readErr := plainfile.ReadLinked(text, maxListFile)
	if readErr != nil {
		return k, &api.Error{Kind: api.KindInvalid, Message: err.Error(), Hint: "give the key itself, or the path of its .pub file"}
	}
	if k, err = trust.ParsePublicKey(string(data)); err != nil {
		return k, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("cannot use %s: %v", text, err)}
	}
	return k, nil
}

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
