package control

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// machines are the kinds of programs that a kernel runs natively, by what uname
// calls it.
var machines = map[string][]uint16{
	"x86_64":  {62, 3}, // EM_X86_64, EM_386
	"i686":    {3},
	"i586":    {3},
	"i386":    {3},
	"aarch64": {183, 40}, // EM_AARCH64, EM_ARM
	"armv7l":  {40},
}

// Parts of an ELF file's header, which begins every program.
const (
	elfHeader   = 64
	elfInterp   = 3 // PT_INTERP: the dynamic loader
	maxSegments = 64
	maxLoader   = 4 << 10
)

// checkProgram reads what a program is for. Whose fault it is if not for this
// machine depends on whose it is: the release's, or the host's interpreter.
func checkProgram(file string, hosts bool) error {
	f, err := os.Open(file)
	if err != nil {
		return nil //nolint:nilerr // what may not be read may still be executed
	}
	defer func() { _ = f.Close() }()
	header := make([]byte, elfHeader)
	if n, _ := io.ReadFull(f, header); n < 4 || string(header[:4]) != "\x7fELF" {
		if foreignFormats() {
			return nil
		}
		return &Unrunnable{Code: CodeNoScript, Host: hosts, Err: noScriptError(file)}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if header[5] == 2 {
		order = binary.BigEndian
	}
	native, known := machines[machineName()]
	if known && !foreignFormats() && (header[5] == 2 || !slices.Contains(native, order.Uint16(header[18:]))) {
		u := releaseFault(CodeWrongMachine, "cannot run %s: it is a program for another kind of machine than %s; publish the release for this one", file, machineName())
		u.Host = hosts
		return u
	}
	if loader := loaderOf(f, header, order); loader != "" {
		if _, err := os.Stat(loader); err != nil {
			return HostFault(CodeNoInterpreter, "cannot run %s: its dynamic loader %s is not on this host: install the C library that it was built for", file, loader)
		}
	}
	return nil
}

// loaderOf is the dynamic loader that the program asks for, or "".
func loaderOf(f io.ReaderAt, header []byte, order binary.ByteOrder) string {
	wide := header[4] == 2
	table, size, count := int64(order.Uint32(header[28:])), int64(order.Uint16(header[42:])), int(order.Uint16(header[44:]))
	if wide {
		table, size, count = int64(order.Uint64(header[32:])), int64(order.Uint16(header[54:])), int(order.Uint16(header[56:]))
	}
	segment := make([]byte, 56)
	for i := range min(count, maxSegments) {
		if n, _ := f.ReadAt(segment, table+int64(i)*size); n < 32 || order.Uint32(segment) != elfInterp {
			continue
		}
		offset, length := int64(order.Uint32(segment[4:])), int64(order.Uint32(segment[16:]))
		if wide {
			offset, length = int64(order.Uint64(segment[8:])), int64(order.Uint64(segment[32:]))
		}
		name := make([]byte, min(max(length, 0), maxLoader))
		_, _ = f.ReadAt(name, offset)
		return strings.TrimRight(string(name), "\x00")
	}
	return ""
}

func machineName() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// foreignFormats: the kernel was taught to run more than its own programs.
func foreignFormats() bool {
	entries, _ := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "register" && e.Name() != "status" })
}
