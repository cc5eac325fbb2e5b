package agent

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// keptOutput is what is left of .control.out when it is cut: the last words.
const keptOutput = maxShown

// LimitOutput keeps .control.out small although a daemon may write to it for
// years: control start gave it to the daemon as its output. Of a file over its
// bound only the end is kept, also of one that somebody removed and the daemon
// pid still has; 0: none is known. It returns how much was given back to the
// disk.
//
// The file is emptied and never replaced, because the daemon keeps it open: its
// next line goes to the new end, since the file was opened for appending. What
// it writes while the file is being cut may be lost.
func (d Dir) LimitOutput(pid int) (freed int64) {
	if pid > 0 {
		freed = d.limitDeletedOutput(pid)
	}
	f, err := os.OpenFile(d.file(outputFile), os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return freed
	}
	defer func() { _ = f.Close() }()
	return freed + cutToEnd(f)
}

// cutToEnd goes by the space in use and not by the length alone: whoever opened
// the file anew, not for appending, goes on behind a hole.
func cutToEnd(f *os.File) (freed int64) {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() <= maxLog || onDisk(fi) <= maxLog {
		return 0
	}
	end, err := io.ReadAll(io.NewSectionReader(f, fi.Size()-keptOutput, keptOutput))
	if err != nil || f.Truncate(0) != nil {
		return 0
	}
	_, _ = f.Write(end)
	return onDisk(fi)
}

func onDisk(fi os.FileInfo) int64 {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fi.Size()
	}
	return st.Blocks * 512
}

// limitDeletedOutput does the same where somebody deleted .control.out and the
// daemon pid still writes to it: nobody else can reach it any more.
func (d Dir) limitDeletedOutput(pid int) (freed int64) {
	for _, fd := range []string{"1", "2"} {
		path := filepath.Join("/proc", strconv.Itoa(pid), "fd", fd)
		if at, err := os.Readlink(path); err != nil || at != d.file(outputFile)+" (deleted)" {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		freed += cutToEnd(f)
		_ = f.Close()
	}
	return freed
}
