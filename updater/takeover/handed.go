package takeover

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// handedVariable names the descriptors that a process keeps when it becomes
// another version.
const handedVariable = "OPS_UPDATER_HANDED"

// Handed is what one version gives to the other in the same process, so that
// there is no moment in which another sidecar could start, or a command would not
// find this one. Files that are nil were not handed over.
type Handed struct {
	Lock   *os.File // of the var directory
	Socket *os.File // that commands connect to
	HTTP   *os.File // the listener of the local HTTP interface
	Listen string   // of HTTP, as it was configured
}

type descriptors struct {
	Lock, Socket, HTTP int
	Listen             string
}

// Took takes what the version before handed over. Once: what is not used is the
// caller's to close.
func Took() Handed {
	text := os.Getenv(handedVariable)
	_ = os.Unsetenv(handedVariable)
	var d descriptors
	if text == "" || json.Unmarshal([]byte(text), &d) != nil {
		return Handed{}
	}
	return Handed{Lock: takeFile(d.Lock, "lock"), Socket: takeFile(d.Socket, "socket"), HTTP: takeFile(d.HTTP, "http"), Listen: d.Listen}
}

func takeFile(fd int, name string) *os.File {
	if fd <= 2 {
		return nil
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// Became reports whether a version before this one ran in this process.
func (h Handed) Became() bool { return h.Lock != nil }

// Listener is the listener behind f, which is closed.
func Listener(f *os.File) (net.Listener, error) {
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with a listener: %w", err)
	}
	return l, nil
}

// Become has this process go on as the program at path, with what is handed over.
// It only returns with an error; then the files are closed.
func Become(path string, h Handed) error {
	if err := mayRun(Program{Path: path}); err != nil {
		return fmt.Errorf("cannot execute %s: %w", path, err)
	}
	d := descriptors{Listen: h.Listen}
	for _, f := range []struct {
		file *os.File
		to   *int
	}{{h.Lock, &d.Lock}, {h.Socket, &d.Socket}, {h.HTTP, &d.HTTP}} {
		if f.file == nil {
			continue
		}
		fd, err := unix.FcntlInt(f.file.Fd(), unix.F_DUPFD, 3) // which stays open
		if err != nil {
			return fmt.Errorf("cannot hand over %s: %w", f.file.Name(), err)
		}
		defer func() { _ = unix.Close(fd) }()
		*f.to = fd
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_ = os.Setenv(handedVariable, string(text))
	defer func() { _ = os.Unsetenv(handedVariable) }()
	return become(path, os.Args)
}
