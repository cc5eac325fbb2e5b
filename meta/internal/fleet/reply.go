package fleet

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/ops-updater/ops-updater/meta"
)

// Reply is a compiled answer, shared by all hosts that get it.
type Reply struct {
	Body   []byte   // JSON in the host's dialect
	Gzip   []byte   // the same compressed; nil when that would not pay
	ETag   string   // weak: the same for equal desired state of another serial
	Wanted []Wanted // what Body says, in short

	// Header values ready to be put into a response.
	ETagHeader   []string
	LengthHeader []string

	compiled uint64 // the snapshot's; not the snapshot, which silent hosts would keep alive
	waits    []wait
	groups   []string // that match and are in force, sorted
	doubt    bool     // made without knowing what is wanted: no serial goes with it
	signer   *signer  // of the snapshot
	terms    *terms   // of a reply for one host alone
}

// Wanted is what one agent is told.
type Wanted struct {
	Agent   string
	Version string
	Cmd     string
	Problem string // why it only asks for a report
	Held    bool
}

// wait is a running rollout that a host could be granted.
type wait struct{ agent, rollout string }

// wantedOf returns what the reply says of an agent, nil when nothing.
func (r *Reply) wantedOf(agent string) *Wanted {
	for i := range r.Wanted {
		if r.Wanted[i].Agent == agent {
			return &r.Wanted[i]
		}
	}
	return nil
}

// legacyAgent is an agent of a reply in the older dialect.
type legacyAgent struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Tarball string `json:"tarball"`
	MD5     string `json:"md5"`
	Cmd     string `json:"cmd"`
}

type legacyResponse struct {
	ErrorMessage  string        `json:"errorMessage"`
	DesiredAgents []legacyAgent `json:"desiredAgents"`
}

// encodeBody fills in the bytes. The ETag is over everything but the serial, so
// that a change elsewhere still gets this host a 304.
func (r *Reply) encodeBody(p *profile, desired []meta.DesiredAgent) {
	r.signer = p.snapshot.signer
	if p.target.dialect == meta.DialectLegacy {
		r.Body = encodeLegacy(desired)
		r.ETag = etagOf(r.Body)
	} else {
		cfg := p.snapshot.cfg
		resp := meta.HeartbeatResponse{DesiredAgents: desired, Interval: cfg.Interval}
		if len(r.waits) > 0 && cfg.WaitInterval > 0 {
			resp.Interval = cfg.WaitInterval
		}
		r.ETag = etagOf(encodeJSON(resp))
		if !r.doubt { // the host goes on echoing the later one that it has
			resp.Serial, resp.SerialMark = cfg.Serial, cfg.SerialMark
		}
		r.Body = encodeJSON(resp)
	}
	r.ETagHeader = []string{r.ETag}
	r.LengthHeader = []string{strconv.Itoa(len(r.Body))}
	r.Gzip = compressBody(r.Body)
}

// worthGzip is the size from which a reply would take more than one packet.
const worthGzip = 1400

func compressBody(body []byte) []byte {
	if len(body) < worthGzip {
		return nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil || b.Len() >= len(body) {
		return nil
	}
	return b.Bytes()
}

func encodeLegacy(desired []meta.DesiredAgent) []byte {
	resp := legacyResponse{DesiredAgents: make([]legacyAgent, 0, len(desired))}
	for _, d := range desired {
		resp.DesiredAgents = append(resp.DesiredAgents, legacyAgent{d.Name, d.Version, d.Tarball, d.MD5, d.Cmd})
	}
	return encodeJSON(resp)
}

// encodeJSON keeps the & of URLs as it is.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // plain structs of strings and numbers
		panic("fleet: cannot encode a reply: " + err.Error())
	}
	return b.Bytes()
}

func etagOf(body []byte) string {
	return `W/"` + strconv.FormatUint(xxhash.Sum64(body), 16) + `"`
}
