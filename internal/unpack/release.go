package unpack

import (
	"bytes"
	"context"
	"io"
)

// ControlName is the script at a release's root that starts and stops the
// agent.
const ControlName = "control"

// headSize is enough of control to judge how it would be executed.
const headSize = 256

// Release is [Stream] for an archive that must be a release: an executable
// control lies at its root. The handler sees control like any other entry.
func Release(ctx context.Context, r io.Reader, l Limits, handle func(Entry) error) (Summary, error) {
	found := false
	sum, err := Stream(ctx, r, l, func(e Entry) error {
		if e.Path == ControlName {
			found = true
			if err := checkControl(&e); err != nil {
				return err
			}
		}
		return handle(e)
	})
	if err == nil && !found {
		return Summary{}, refuseEntry(NoControl, "", "there is no control script at its root: pack the release's content, not the directory that holds it")
	}
	return sum, err
}

// checkControl looks at the beginning of control and puts it back.
func checkControl(e *Entry) error {
	if e.Kind != File {
		return refuseEntry(BadControl, e.Path, "control must be a regular file, not a directory or a link")
	}
	if e.Mode&0o100 == 0 {
		return refuseEntry(BadControl, e.Path, "mode %04o lacks the execute bit: chmod +x control before packing", e.Mode)
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(e.Body, head)
	if err != nil && n < int(min(e.Size, headSize)) {
		return err
	}
	head = head[:n]
	e.Body = io.MultiReader(bytes.NewReader(head), e.Body)
	if refused := judgeHead(head); refused != nil {
		return refused
	}
	return nil
}

// judgeHead decides whether the kernel could execute a file that begins so.
func judgeHead(head []byte) *Error {
	if !bytes.HasPrefix(head, []byte("#!")) {
		if isBinary(head) {
			return nil
		}
		return refuseEntry(BadControl, ControlName, "it begins with neither an interpreter line such as #!/bin/sh nor a program's header")
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	switch {
	case bytes.HasSuffix(line, []byte("\r")):
		return refuseEntry(BadControl, ControlName, "its interpreter line ends in CRLF, so that no interpreter is found: convert it to LF line ends")
	case len(bytes.TrimSpace(line[2:])) == 0:
		return refuseEntry(BadControl, ControlName, "its interpreter line names no interpreter")
	}
	return nil
}

// isBinary knows the headers of ELF and of the Mach-O forms.
func isBinary(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}
