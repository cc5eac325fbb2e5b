package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// maxKeyFile bounds a file with a key.
const maxKeyFile = 4 << 10

// passwordOf is how a command comes by a key file's password.
type passwordOf struct {
	file string // with the password; empty: the terminal is asked
	flag string // that names the file, where it is not --password-file
	none bool   // there shall be none
}

// privateKey reads a private key's file, and asks for its password when it has one.
func (a *app) privateKey(path string, p passwordOf) (trust.PrivateKey, error) {
	data, err := plainfile.ReadLinked(path, maxKeyFile)
	if err != nil {
		return trust.PrivateKey{}, &api.Error{Kind: api.KindInvalid, Message: "cannot read the key", Err: err, Hint: "give the file of a private key: ops-meta key new makes one, and minisign -G"}
	}
	k, err := trust.ParsePrivateKey(data, "")
	if errors.Is(err, trust.ErrEncrypted) {
		var password string
		if password, err = a.askPasswordOf(path, p); err != nil {
			return k, err
		}
		k, err = trust.ParsePrivateKey(data, password)
	}
	if err != nil {
		return k, &api.Error{Kind: api.KindInvalid, Message: "cannot use the key " + path, Err: err}
	}
	return k, nil
}

func (a *app) askPasswordOf(path string, p passwordOf) (string, error) {
	if p.file != "" {
		password, err := readSmall(p.file)
		if err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		return password, nil
	}
	return a.askSecret("password of "+path, "give it in a file: --"+cmp.Or(p.flag, "password-file"))
}

// askSecret asks a person at a terminal for something that is not shown.
func (a *app) askSecret(what, hint string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", &api.Error{Kind: api.KindInvalid, Message: "there is no terminal to ask for the " + what, Hint: hint}
	}
	_, _ = fmt.Fprintf(a.err, "%s: ", what)
	secret, err := term.ReadPassword(int(f.Fd()))
	_, _ = fmt.Fprintln(a.err)
	return string(secret), err
}
