package release

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// ReadSignature reads the file of an artifact's signature. It is refused, as
// [*api.Error] of KindInvalid, when it has not the form of one, or says that it is of
// something else. Whether it is good is not known by that.
func ReadSignature(k api.ReleaseKey, file string) (trust.Signature, error) {
	of := trust.Release(k.Agent, k.Version, k.Arch)
	signature, err := trust.ParseSignature([]byte(file))
	if err == nil && signature.Subject != of {
		err = fmt.Errorf("its trusted comment says that it is of %s", signature.Subject)
	}
	if err != nil {
		e := invalidField("signature", "sign "+meta.TarballName(k.Agent, k.Version)+" again: ops-meta sign, or minisign -S with -t '"+of.Comment()+"'",
			"that is no signature of %s", of)
		e.Err = err
		return trust.Signature{}, e
	}
	return signature, nil
}

// CheckSignature checks a signature that was read against the keys that count. It is refused, as
// [*api.Error] of KindInvalid, when it is not of the artifact's bytes. verified is
// false without an error when that cannot be known here: the key is none of keys, or
// nobody has computed the digest.
func CheckSignature(s trust.Signature, keys trust.Keys, a api.Artifact) (verified bool, err error) {
	sum, err := hex.DecodeString(a.Blake2b)
	if err != nil || len(sum) == 0 {
		return false, nil //nolint:nilerr // of an artifact from before there was one
	}
	_, err = s.Verify(keys, trust.DigestFrom(sum), trust.Release(a.Agent, a.Version, a.Arch))
	switch trust.CodeOf(err) {
	case trust.NoKeys, trust.UnknownKey:
		return false, nil
	}
	if err != nil {
		e := invalidField("signature", "sign the tarball that is published, with the key that is meant", "the signature of %s %s for %s is not good", a.Agent, a.Version, a.Arch)
		e.Err = err
		return false, e
	}
	return true, nil
}

// Digest computes the digest that signatures are made over, of content that is kept.
func (s *Store) Digest(ctx context.Context, sha256 string) (string, error) {
	content, err := s.Open(ctx, sha256)
	if err != nil {
		return "", err
	}
	defer content.Close() //nolint:errcheck // only read
	d := trust.NewDigest()
	if _, err := io.Copy(d, content); err != nil {
		return "", fmt.Errorf("cannot read artifact %s: %w", sha256, err)
	}
	return hex.EncodeToString(d.Sum(nil)), nil
}

// signatureTimeout bounds how long is waited for a signature beside a tarball.
const signatureTimeout = time.Minute

// addSignature adds the signature that lies beside the tarball at address. What lies
// there and cannot be used is a warning: nobody here has signed with it.
func (s *Store) addSignature(ctx context.Context, a *api.Artifact, address string, from Origin) {
	u, err := url.Parse(address)
	if err != nil {
		return // then nothing was fetched from it either
	}
	u.Path, u.RawPath = u.Path+trust.Extension, ""
	signature, err := s.signatureAt(ctx, api.ReleaseKey{Agent: a.Agent, Version: a.Version, Arch: a.Arch}, u.String(), from)
	switch {
	case errors.Is(err, errAbsent):
	case err != nil:
		a.Warnings = append(a.Warnings, fmt.Sprintf("not taken as its signature: %s: %s", printable.Clip(meta.RedactURL(u.String())), printable.Line(withoutURL(err).Error())))
	default:
		a.Signature, a.SignedBy = signature.Text(), signature.KeyID()
	}
}

func (s *Store) signatureAt(ctx context.Context, k api.ReleaseKey, address string, from Origin) (trust.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, signatureTimeout)
	defer cancel()
	body, _, err := s.fetch.openURL(ctx, address, from)
	if err != nil {
		return trust.Signature{}, err
	}
	defer body.Close() //nolint:errcheck // only read
	file, err := io.ReadAll(io.LimitReader(body, trust.MaxSignature+1))
	if err != nil {
		return trust.Signature{}, err
	}
	return ReadSignature(k, string(file))
}
