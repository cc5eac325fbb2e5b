package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// ImportOptions are how an older ops-meta's configuration is taken.
type ImportOptions struct {
	DryRun  bool // only say what would change; tarballs are looked at, not kept
	Partial bool // take what can be taken when a part of it cannot
	As      FetchAs
}

// FetchAs is how the server reaches a place with tarballs that asks for a login
// or is vouched for by an authority of its own. It is used once and kept
// nowhere.
type FetchAs struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Host     string `json:"host,omitempty"` // that the login is for, with its port; empty: the only one there is
	CA       string `json:"ca,omitempty"`   // PEM
}

// fetchAsHeader carries a [FetchAs] beside a body that has no place for it.
const fetchAsHeader = "Ops-Meta-Fetch-As"

func (f FetchAs) setHeader(h http.Header) {
	if f == (FetchAs{}) {
		return
	}
	data, _ := json.Marshal(f) // plain text fields
	h.Set(fetchAsHeader, base64.StdEncoding.EncodeToString(data))
}

// FetchAsOf reads what a request says of fetching.
func FetchAsOf(h http.Header) (f FetchAs, err error) {
	text := h.Get(fetchAsHeader)
	if text == "" {
		return f, nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return FetchAs{}, &Error{Kind: KindInvalid, Field: fetchAsHeader, Message: "the header " + fetchAsHeader + " cannot be read"}
	}
	return f, nil
}
