package install

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// verifier finds the signature of one thing and judges it.
type verifier struct {
	job.Verify
	files   small
	subject trust.Subject // what the signature has to be of
}

// signatureURL is where the signature of what is at raw lies: beside it.
func signatureURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", failedForGood(CodeBadJob, "cannot download %s: it is not a URL", meta.RedactURL(raw))
	}
	u.Path += trust.Extension
	if u.RawPath != "" {
		u.RawPath += trust.Extension
	}
	return u.String(), nil
}

// refusal is why something is not believed, as an error of an install.
func (v verifier) refusal(err error) *Error {
	return &Error{Code: string(trust.CodeOf(err)), Err: fmt.Errorf("cannot verify %s: %w", v.subject, err)}
}

// isRefusal reports whether e is about a signature and not about how to get it.
func isRefusal(e *Error) bool { return trust.CodeOf(e.Err) != "" }

// askFor gets the signature of what is at raw, and refuses one that cannot be right
// whatever the bytes are.
func (v verifier) askFor(ctx context.Context, raw string) (trust.Signature, *setback) {
	if len(v.Keys) == 0 {
		return trust.Signature{}, &setback{err: v.refusal(&trust.Refusal{Code: trust.NoKeys, Text: "no key is known that could have signed it"})}
	}
	at, err := signatureURL(raw)
	if err != nil {
		return trust.Signature{}, &setback{err: onDisk("verify", err)}
	}
	file, back := v.files.tryOnce(ctx, at, trust.MaxSignature)
	if back != nil {
		back.err = v.explainMissing(back.err)
		return trust.Signature{}, back
	}
	signature, err := trust.ParseSignature(file)
	if err == nil {
		_, known := v.Keys.Find(signature.KeyID())
		if !known { // Verify says so in the same words, before it looks at any byte
			_, err = signature.Verify(v.Keys, trust.NewDigest(), v.subject)
		}
	}
	if err != nil {
		return trust.Signature{}, &setback{err: v.refusal(err)}
	}
	return signature, nil
}

// explainMissing: a server that has no signature has one perhaps later, and says so
// with a 403 where it does not let names be guessed.
func (v verifier) explainMissing(e *Error) *Error {
	switch e.Code {
	case CodeNotFound, CodeForbidden:
		return v.refusal(&trust.Refusal{Code: trust.Unsigned, Text: "it has no signature: " + e.Error()})
	case CodeTooLarge:
		return v.refusal(&trust.Refusal{Code: trust.BadSignature, Text: e.Error()})
	}
	return e
}

// judge says what a signature is worth for the bytes that digest has seen.
func (v verifier) judge(s trust.Signature, digest trust.Digest) (job.Proof, *Error) {
	key, err := s.Verify(v.Keys, digest, v.subject)
	if err != nil {
		return job.Proof{}, v.refusal(err)
	}
	return job.Proof{Key: key.ID()}, nil
}

// unlessRequired turns a failure into a proof of nothing where no more is asked for.
func (v verifier) unlessRequired(e *Error) (job.Proof, *Error) {
	if v.Mode == meta.TrustRequire || isOurFault(e.Code) {
		return job.Proof{}, e
	}
	code := e.Code
	if !isRefusal(e) {
		code = CodeUnsigned
	}
	return job.Proof{Code: code, Why: e.Error()}, nil
}

// verifyContent verifies a small file that is held whole.
func (v verifier) verifyContent(ctx context.Context, raw string, content []byte) (job.Proof, error) {
	if !v.Asks() {
		return job.Proof{}, nil
	}
	m := newMirrors([]string{raw}, v.files.retries)
	signature, failed := trust.Signature{}, (*Error)(nil)
	for {
		s, back := v.askFor(ctx, raw)
		if back == nil {
			signature = s
			break
		}
		if failed = v.files.againAfter(ctx, m, *back); failed != nil {
			break
		}
	}
	var proof job.Proof
	if failed == nil {
		proof, failed = v.judge(signature, trust.DigestOf(content))
	}
	if failed != nil {
		proof, failed = v.unlessRequired(failed)
	}
	if failed != nil {
		return proof, failed
	}
	return proof, nil
}

// checkVerify refuses what would leave open what is verified.
func checkVerify(v job.Verify, release bool) error {
	switch v.Mode {
	case "", meta.TrustOff:
		return nil
	case meta.TrustWarn, meta.TrustRequire:
	default:
		return fmt.Errorf("trust mode %q is not known", v.Mode)
	}
	if release && v.Arch == "" {
		return errors.New("no arch is given that a signature must be for")
	}
	return nil
}
