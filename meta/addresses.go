package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// MaxMirrors is how many mirrors one agent may have.
const MaxMirrors = 8

// Addresses is a list of URLs, in order. It is a string, one URL a line, so that what
// holds it can be compared; in JSON it is a list.
type Addresses string

// AddressesOf joins a list.
func AddressesOf(urls ...string) Addresses { return Addresses(strings.Join(urls, "\n")) }

// List takes it apart; nil for none.
func (a Addresses) List() []string {
	if a == "" {
		return nil
	}
	return strings.Split(string(a), "\n")
}

// Redacted are the addresses as logs, errors and reports may show them, see [RedactURL].
func (a Addresses) Redacted() Addresses {
	list := a.List()
	for i := range list {
		list[i] = RedactURL(list[i])
	}
	return AddressesOf(list...)
}

// MarshalJSON makes a list.
func (a Addresses) MarshalJSON() ([]byte, error) { return json.Marshal(a.List()) }

// UnmarshalJSON reads a list; null is an empty one.
func (a *Addresses) UnmarshalJSON(data []byte) error {
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(s string) bool { return s == "" || strings.ContainsAny(s, "\n\r") }) {
		return errors.New("a list of addresses has an empty one or one of several lines")
	}
	*a = AddressesOf(list...)
	return nil
}

func (a DesiredAgent) validateMirrors() error {
	mirrors := a.Mirrors.List()
	if len(mirrors) > MaxMirrors {
		return fmt.Errorf("mirrors lists %d addresses: at most %d are allowed", len(mirrors), MaxMirrors)
	}
	for _, m := range mirrors {
		if !isHTTP(m) {
			return fmt.Errorf("mirror %q is not an http or https URL", printable.Clip(RedactURL(m)))
		}
	}
	return nil
}
