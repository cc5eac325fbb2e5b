// Package localsocket is a unix socket by which the user that a program runs as
// talks to it: for that user alone, at a path of any length.
package localsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync/atomic"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// Listen opens the socket at path for its owner alone. A socket that a killed
// program left behind is replaced; the caller holds the lock of its directory.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := removeLeftover(path); err != nil {
		return nil, err
	}
	var l net.Listener
	err := withShortPath(path, func(short string) error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", short)
		return err
	})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the socket %s: %w", path, err)
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	return &Listener{UnixListener: u, path: path}, nil
}

// Adopt goes on with the socket at path, whose listener another program left in this
// process; had is closed. It is an error when the socket is no longer at path.
func Adopt(had *os.File, path string) (net.Listener, error) {
	defer func() { _ = had.Close() }()
	l, err := net.FileListener(had)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the socket %s: %w", path, err)
	}
	u, ok := l.(*net.UnixListener)
	if fi, gone := os.Lstat(path); !ok || gone != nil || fi.Mode()&fs.ModeSocket == 0 {
		_ = l.Close()
		return nil, fmt.Errorf("cannot go on with the socket %s: it is not there", path)
	}
	u.SetUnlinkOnClose(false)
	return &Listener{UnixListener: u, path: path}, nil
}

// removeLeftover removes a socket that was left, and sets anything else aside.
func removeLeftover(path string) error {
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode()&fs.ModeSocket == 0 {
		err = plainfile.SetAside(path, &plainfile.Error{Path: path, Why: "it is " + plainfile.Kind(fi.Mode())})
		if _, moved := errors.AsType[*plainfile.AsideError](err); moved {
			return nil
		}
	} else if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the socket: %w", err)
	}
	return nil
}

// Listener removes its file by the path it was asked for, not the short one.
type Listener struct {
	*net.UnixListener
	path string
	kept atomic.Bool
}

// Keep leaves the file where it is when the listener is closed: a second descriptor
// of it goes on.
func (l *Listener) Keep() { l.kept.Store(true) }

// Close ends the listener, and removes its file unless that is kept.
func (l *Listener) Close() error {
	if !l.kept.Load() {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = withShortPath(path, func(short string) error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}
