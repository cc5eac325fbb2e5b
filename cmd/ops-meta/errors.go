package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Exit codes, also in the manual.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong flags, arguments or input
	exitNotFound = 3 // what was asked for, or what the input names
	exitConflict = 4 // somebody else changed it, it exists already, or it is in use
	exitDenied   = 5 // no token, an unknown or expired one, or one without the role
)

// usage is a command line that makes no sense.
type usage struct {
	command *cobra.Command
	err     error
	hint    string // empty: its help
}

func (u *usage) Error() string { return u.err.Error() }
func (u *usage) Unwrap() error { return u.err }

// complaint is an error as programs read it, on the standard error.
type complaint struct {
	Message  string            `json:"message"`
	Hint     string            `json:"hint,omitempty"`
	Code     string            `json:"code"` // such as notFound, conflict, denied, usage
	Status   int               `json:"status,omitempty"`
	Field    string            `json:"field,omitempty"`
	Problems []api.FileProblem `json:"problems,omitempty"`
	ExitCode int               `json:"exitCode"`
}

// complain says what went wrong and what to do about it: in words, or as one
// JSON object where the output is for programs.
func (a *app) complain(err error) {
	c := complaint{Message: inOurWords(err), Hint: hintOf(err), ExitCode: exitCode(err)}
	c.Code = codeOf(c.ExitCode)
	var p *api.Problem
	var e *api.Error
	switch {
	case errors.As(err, &p):
		c.Status, c.Field, c.Problems = p.Status, p.Field, p.Problems
		if code, ours := strings.CutPrefix(p.Type, "urn:ops-meta:"); ours {
			c.Code = code
		}
	case errors.As(err, &e):
		c.Code, c.Field = string(e.Kind), e.Field
	}
	if a.output == "json" || a.output == "yaml" {
		data, _ := json.MarshalIndent(map[string]complaint{"error": c}, "", "  ")
		_, _ = fmt.Fprintln(a.err, printable.JSON(string(data)))
		return
	}
	_, _ = fmt.Fprintf(a.err, "%s %s\n", a.paint(a.err, red, "ops-meta: error:"), printable.Lines(c.Message))
	for _, fp := range c.Problems {
		writef(a.err, "  line %d, column %d: %s%s\n", fp.Line, fp.Column, fp.Message, inBrackets(fp.Hint))
	}
	if c.Hint != "" {
		writef(a.err, "%s %s\n", a.paint(a.err, bold, "ops-meta: hint:"), c.Hint)
	}
}

// inOurWords is the text of an error, without cobra's words for flags of which
// only one may be given.
func inOurWords(err error) string {
	if _, flags, several := strings.Cut(err.Error(), "none of the others can be; ["); several {
		return "give only one of --" + strings.ReplaceAll(strings.TrimSuffix(flags, "] were all set"), " ", ", --")
	}
	return err.Error()
}

// wantsJSON reports whether a command line asks for it, also one that could
// not be read to its end.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		if arg == "-ojson" || arg == "-o=json" || arg == "--output=json" || (arg == "-o" || arg == "--output") && slices.Contains(args[i+1:min(i+2, len(args))], "json") {
			return true
		}
	}
	return false
}

func codeOf(exit int) string {
	switch exit {
	case exitUsage:
		return "usage"
	case exitNotFound:
		return "notFound"
	case exitConflict:
		return "conflict"
	case exitDenied:
		return "denied"
	}
	return "failed"
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func hintOf(err error) string {
	var (
		p *api.Problem
		e *api.Error
		u *usage
		n *api.Unreachable
	)
	switch {
	case errors.As(err, &p):
		return p.Hint
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &u) && u.hint != "":
		return u.hint
	case errors.As(err, &u):
		return "see " + u.command.CommandPath() + " --help"
	case errors.As(err, &n):
		return unreachableHint(n)
	case usageByText(err):
		return "see ops-meta --help"
	}
	return ""
}

// usageByText knows the usage errors that cobra has no hook for.
func usageByText(err error) bool {
	for _, start := range []string{"unknown command", "required flag(s)", "if any flags in the group", "at least one of the flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func exitCode(err error) int {
	var p *api.Problem
	var e *api.Error
	var u *usage
	switch {
	case isMissing(err):
		return exitNotFound
	case errors.As(err, &p):
		return exitCodeOfStatus(p.Status)
	case errors.As(err, &e):
		return exitCodeOfKind(e.Kind)
	case errors.As(err, &u), usageByText(err):
		return exitUsage
	}
	return exitFailed
}

// isMissing reports whether a server refused an input that names what there is
// not.
func isMissing(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Type == "urn:ops-meta:"+api.CodeMissing
}

func exitCodeOfKind(kind api.ErrorKind) int {
	switch kind {
	case api.KindInvalid, api.KindTooLarge:
		return exitUsage
	case api.KindNotFound:
		return exitNotFound
	case api.KindExists, api.KindConflict, api.KindImmutable:
		return exitConflict
	case api.KindDenied, api.KindOutsideRemit:
		return exitDenied
	case api.KindUnavailable, api.KindInternal:
	}
	return exitFailed
}

func exitCodeOfStatus(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	}
	return exitFailed
}

// unreachableHint says what to look at when no answer came.
func unreachableHint(n *api.Unreachable) string {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(n.Err, &cert):
		return "give the authority that vouches for the server with --ca (or OPS_META_CA)"
	case errors.As(n.Err, &record), strings.Contains(n.Err.Error(), "HTTP response to HTTPS client"):
		return "the server speaks no TLS there: is it http:// in --server (or OPS_META_SERVER)?"
	}
	return "is it running, and is --server (or OPS_META_SERVER) right?"
}
