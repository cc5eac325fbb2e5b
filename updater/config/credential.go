package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// credentialName is the file in the var directory with the credential that enrolment gave.
const credentialName = "credential"

// CredentialFile is where the credential is kept that this host got by enrolment.
func (c Config) CredentialFile() string { return filepath.Join(c.VarDir, credentialName) }

// findCredential takes the credential that enrolment gave, where no key names another one,
// or else the enrolment token.
func (c *Config) findCredential() error {
	if c.Token != "" {
		c.EnrolToken = ""
		return nil
	}
	data, err := plainfile.Read(c.CredentialFile(), maxTokenSize)
	switch {
	case err == nil:
		c.Token, c.EnrolToken = strings.TrimSpace(string(data)), ""
		if c.Token == "" || checkToken(c.Token) != nil {
			return fmt.Errorf("%s holds no credential: remove it, and enrol this host again", c.CredentialFile())
		}
		return nil
	case errors.Is(err, fs.ErrPermission):
		// Whoever may not read it is not the sidecar, and speaks to it alone.
		c.EnrolToken = ""
		return nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR): // the var directory is looked at elsewhere
		return err
	}
	if c.EnrolToken != "" || c.enrolTokenFile == "" {
		return nil
	}
	path := c.enrolTokenFile
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(c.Path), path)
	}
	c.EnrolToken, err = ReadToken(path)
	if err != nil {
		return fmt.Errorf("enroll_token_file: %w", err)
	}
	return nil
}

// ReadToken reads the token that the file at path holds and nothing else.
func ReadToken(path string) (string, error) {
	data, err := plainfile.ReadLinked(path, maxTokenSize)
	if err != nil {
		return "", err
	}
	token, err := TokenIn(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// TokenIn is the token that data holds and nothing else, but for white space around it.
func TokenIn(data []byte) (string, error) {
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", errors.New("it is empty")
	}
	return token, checkToken(token)
}
