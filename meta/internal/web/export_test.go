package web

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// LabelsOf reads what the form of a group's labels holds, and LabelLines writes it.
var (
	LabelsOf   = parseLabels
	LabelLines = labelLines
	WithQuery  = withQuery
)

// Sessions seals a token, at now, into the value of a cookie, and opens one.
func Sessions(key [32]byte, now time.Time) (seal func(token string) (string, error), open func(cookie string) (string, error)) {
	s, err := newSealer(key, func() time.Time { return now })
	if err != nil {
		panic(err)
	}
	return s.sealToken, func(cookie string) (string, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", sessionCookie+"="+cookie)
		return s.openSession(r)
	}
}
