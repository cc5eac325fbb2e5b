package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "key", Short: "Keys: which hosts believe, and which sign",
		Long: `Keys that hosts believe, in minisign's format. Release keys sign releases, root keys sign
the list of keys; both stay on the machines of the people who have them. The server's
key signs the replies to hosts, and the server makes it itself.

add, rotate, revoke and bump make the next list of keys from the one that the server
has, show which keys count afterwards, sign it here and give it to the server, which
passes it on to hosts. With --from and --to they need no server: LIST is a file.`,
	}
	c.AddCommand(a.keyListCommand(), a.keyNewCommand(), a.keyAddCommand(), a.keyRotateCommand(), a.keyRevokeCommand(), a.keyBumpCommand(), a.keyPublishCommand())
	return c
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The server's keys, the list of keys, and who has heard it", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.showView(cmd, func(ctx context.Context, c *api.Client, w io.Writer) error {
			r, err := c.Keys(ctx)
			if err != nil {
				return err
			}
			return a.print(w, r, func(w io.Writer) { a.printKeys(w, r) })
		})
	}}
}

func (a *app) printKeys(w io.Writer, r api.KeyReport) {
	t := table{head: []string{"KEY", "USE", "NAME", "COUNTS", "PUBLIC KEY"}}
	for _, k := range r.Keys {
		t.add(cell{k.ID, bold}, plain(string(k.Use)), plain(k.Name), countsCell(k, r), plain(k.Key))
	}
	for _, k := range r.Own {
		if !k.Listed {
			t.add(cell{k.ID, bold}, plain(string(trust.UseServer)), plain(""), ownCell(k, r), plain(k.Key))
		}
	}
	for _, k := range r.Roots {
		t.add(cell{k.ID, bold}, plain(string(trust.UseRoot)), plain(""), plain("signs the list"), plain(k.Key))
	}
	if len(t.rows) == 0 {
		writef(w, "no keys: nothing is signed; ops-meta key new --use server makes the server's\n")
		return
	}
	t.write(a, w)
	writef(w, "\n")
	if r.Epoch > 0 {
		writef(w, "list of keys: epoch %d of %s, signed with root key %s\n", r.Epoch, r.Issued.Local().Format("2006-01-02 15:04"), r.SignedBy)
	} else {
		writef(w, "no list of keys: hosts go by the keys of their cfg.json\n")
	}
	writef(w, "hosts: %d require, %d warn, %d verify nothing", r.Hosts.Modes["require"], r.Hosts.Modes["warn"], r.Hosts.Modes["off"])
	if text := countsText(r.Hosts.Epochs); text != "" {
		writef(w, "; by epoch %s", text)
	}
	writef(w, "\n")
	for reason, n := range r.Hosts.Refusing {
		writef(w, "%s\n", a.paint(a.out, red, fmt.Sprintf("%d do not believe this server: %s", n, reason)))
	}
	if r.Hosts.Highest > r.Epoch {
		writef(w, "%s\n", a.paint(a.out, red, fmt.Sprintf("hosts have heard epoch %d: see ops-meta key bump --help", r.Hosts.Highest)))
	}
}

func countsCell(k api.ListedKey, r api.KeyReport) cell {
	text := "yes"
	for _, own := range r.Own {
		if own.ID == k.ID && own.Signs {
			text = "signs replies"
		}
	}
	switch {
	case k.Expired:
		return cell{"ended " + k.NotAfter.Local().Format("2006-01-02 15:04"), red}
	case k.NotAfter != nil:
		text += " until " + k.NotAfter.Local().Format("2006-01-02 15:04")
	}
	return plain(text)
}

func ownCell(k api.OwnKey, r api.KeyReport) cell {
	switch {
	case k.Signs && r.Epoch > 0:
		return cell{"signs replies, and is not in the list", red}
	case k.Signs:
		return plain("signs replies")
	}
	return plain("waits")
}

func (a *app) keyNewCommand() *cobra.Command {
	var use string
	var p passwordOf
	c := &cobra.Command{
		Use: "new [FILE]", Short: "Make a key", Args: cobra.MaximumNArgs(1),
		Long: `Make a key. A release key or a root key is made here, without a server: FILE is its
private part, and beside it lies the public one (release.key and release.pub), as minisign
makes and reads them. The password is asked for twice. Neither file is ever overwritten.

The server's key (--use server, without FILE) the server makes, and keeps. The
first one signs replies at once; a later one waits for ops-meta key rotate.`,
		Example: "  ops-meta key new release.key --use release\n  ops-meta key new --use server",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("use", use, []string{string(trust.UseRelease), string(trust.UseServer), string(trust.UseRoot)}); err != nil {
				return err
			}
			if use == string(trust.UseServer) {
				if len(args) > 0 {
					return &usage{command: cmd, err: errors.New("the server's key is in no file: it never leaves the server")}
				}
				return a.makeServerKey(cmd.Context())
			}
			if len(args) == 0 {
				return &usage{command: cmd, err: errors.New("no file is given for the key"), hint: "such as ops-meta key new " + use + ".key --use " + use}
			}
			return a.makeKey(args[0], trust.Use(use), p)
		},
	}
	c.Flags().StringVar(&use, "use", "", "release, root or server")
	c.Flags().StringVar(&p.file, "password-file", "", "file with the password of the private part")
	c.Flags().BoolVar(&p.none, "no-password", false, "the private part has no password: whoever reads the file can sign")
	c.MarkFlagsMutuallyExclusive("password-file", "no-password")
	_ = c.MarkFlagRequired("use")
	return c
}

func (a *app) makeServerKey(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	k, err := c.MakeServerKey(ctx)
	if err != nil {
		return err
	}
	return a.print(a.out, k, func(w io.Writer) {
		writef(w, "server key %s: %s\n", k.ID, k.Key)
		if k.Signs {
			writef(w, "it signs replies from now on; hosts need it in trust.server_keys, or in the list of keys\n")
			return
		}
		writef(w, "it waits: once hosts know it, ops-meta key rotate has it sign\n")
	})
}

// madeKey is a key that was made here.
type madeKey struct {
	api.KeyID
	Use       trust.Use `json:"use"`
	File      string    `json:"file"`      // of the private part
	PublicKey string    `json:"publicKey"` // file of the public part
}

// makeKey makes a pair of keys in two files.
func (a *app) makeKey(path string, use trust.Use, p passwordOf) error {
	public := strings.TrimSuffix(path, ".key") + ".pub"
	for _, taken := range []string{path, public} {
		if _, err := os.Lstat(taken); !errors.Is(err, fs.ErrNotExist) {
			return &api.Error{Kind: api.KindExists, Message: taken + " is there already: no key is ever overwritten", Hint: "choose another name"}
		}
	}
	password, err := a.newPassword(p)
	if err != nil {
		return err
	}
	k, err := trust.NewKey()
	if err != nil {
		return err
	}
	private, err := k.File(password)
	if err != nil {
		return err
	}
	if err := writeNewFile(public, []byte(k.Public().File()), 0o644); err != nil {
		return err
	}
	if err := writeNewFile(path, private, 0o600); err != nil {
		return errors.Join(err, os.Remove(public))
	}
	made := madeKey{api.KeyID{ID: k.Public().ID(), Key: k.Public().String()}, use, path, public}
	return a.print(a.out, made, func(w io.Writer) {
		writef(w, "%s key %s: %s\n", use, made.ID, made.Key)
		writef(w, "private part in %s: keep it, and a copy, away from the server; public part in %s\n", path, public)
	})
}

// newPassword is the one that a new key gets; empty for none.
func (a *app) newPassword(p passwordOf) (string, error) {
	if p.none {
		return "", nil
	}
	const hint = "give it in a file: --password-file; or --no-password"
	if p.file != "" {
		password, err := readSmall(p.file)
		if err == nil && password == "" {
			err = &api.Error{Kind: api.KindInvalid, Message: "there is no password in " + p.file, Hint: hint}
		}
		return password, err
	}
	first, err := a.askSecret("password of the new key", hint)
	if err != nil {
		return "", err
	}
	again, err := a.askSecret("the same again", hint)
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", &api.Error{Kind: api.KindInvalid, Message: "no password was given", Hint: "a key without one: --no-password"}
	case first != again:
		return "", &api.Error{Kind: api.KindInvalid, Message: "the two passwords differ", Hint: "try again"}
	}
	return first, nil
}

// writeNewFile writes a file that must not be there, and has it on disk.
func writeNewFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("cannot write a key: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("cannot write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// maxListFile is far above a file with a key or with a list of keys.
const maxListFile = 64 << 10

// readList reads a file with a signed list of keys.
func readList(path string) (trust.SignedList, error) {
	data, err := plainfile.ReadLinked(path, maxListFile)
	if err != nil {
		return trust.SignedList{}, err
	}
	var s trust.SignedList
	if err := json.Unmarshal(data, &s); err != nil || s.List == "" {
		return s, &api.Error{Kind: api.KindInvalid, Message: path + " is no signed list of keys", Hint: "one is made by ops-meta key add … --to FILE"}
	}
	return s, nil
}
