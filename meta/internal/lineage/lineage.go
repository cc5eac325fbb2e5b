// Package lineage tells whether a server's database has gone back to an
// earlier moment: after a restore, a snapshot of the machine that was rolled
// back, a standby that was promoted before it had everything.
//
// The serial grows with every operator's write, so one that was said before
// and is higher than the database's proves it. It is remembered outside of the
// database: by hosts, which echo the mark that came with their last answer, by
// servers that run, and in a file of each data directory. A mark is signed
// with a key from the database, so that only what was really said counts: not
// what somebody makes up, nor what another installation once said to a host
// that has moved here.
//
// What was said belongs to an era. When a database turns out to have gone back
// it begins a new one, and what was said in an earlier era is known to be void:
// it is found out once, not again with every host that comes late.
package lineage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Mark is a serial as it was said in an era.
type Mark struct {
	Era    string
	Serial int64
}

// NewEra makes the name of one.
func NewEra() string { return strings.ToLower(rand.Text()[:10]) }

// After reports whether m was said after the moment that a database is of,
// given its eras, the present one last, and its serial. A database without an
// era has never said anything.
func (m Mark) After(eras []string, serial int64) bool {
	if len(eras) == 0 {
		return false
	}
	if m.Era == eras[len(eras)-1] {
		return m.Serial > serial
	}
	return !slices.Contains(eras, m.Era)
}

// Key signs marks and checks them.
type Key []byte

// Text is a mark as it is sent and stored.
func (k Key) Text(m Mark) string {
	body := m.Era + "." + strconv.FormatInt(m.Serial, 10)
	return body + "." + k.signBody(body)
}

func (k Key) signBody(body string) string {
	mac := hmac.New(sha256.New, k)
	_, _ = mac.Write([]byte("serial mark " + body))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// maxText bounds what is looked at as a mark.
const maxText = 128

// Read is the mark of a text, not yet trusted, with a check that it is ours.
func (k Key) Read(text string) (m Mark, genuine func() bool, ok bool) {
	if len(text) > maxText {
		return m, nil, false
	}
	cut := strings.LastIndexByte(text, '.')
	if cut < 0 {
		return m, nil, false
	}
	body, signature := text[:cut], text[cut+1:]
	era, number, found := strings.Cut(body, ".")
	serial, err := strconv.ParseInt(number, 10, 64)
	if !found || era == "" || err != nil || serial < 0 {
		return m, nil, false
	}
	return Mark{era, serial}, func() bool { return hmac.Equal([]byte(signature), []byte(k.signBody(body))) }, true
}
