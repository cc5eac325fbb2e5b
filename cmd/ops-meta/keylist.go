package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/internal/plainfile"
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
