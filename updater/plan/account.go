package plan

import (
	"fmt"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
)

// Account is what a person wants to know of one agent: what is wanted, what is there, who
// vouched for it, what is next, and what of the wish this host does not follow.
type Account struct {
	Step     Step
	Wish     Wish
	Seen     Observation
	At       Place
	Verified string // id of the release key that had signed what is there; empty: none, or nothing is verified
	Refusals []Refusal
}

// Refusal is why a wish is not followed, or not now.
type Refusal struct {
	Code string // as in reports; empty for a hold
	Why  string
	Next string // what a person can do about it
}

// Account is s with the step planned in it.
func (s Situation) Account(step Step) Account {
	a := Account{Step: step, Wish: s.Wish, Seen: s.Seen, At: s.At, Refusals: s.Refusals()}
	if s.Trust.Verifies() {
		a.Verified = s.Journal.VerificationOf(s.currentTarget()).Key
	}
	return a
}

// Refusals are all reasons for which this host does not follow its wish, the first one
// being what has to be mended first; also those behind a hold.
func (s Situation) Refusals() []Refusal {
	switch {
	case s.Seen.OwnedBy != "":
		return []Refusal{{Code: CodeOwned, Why: s.Seen.OwnedBy + " looks after it", Next: "end that sidecar, or have its server no longer list " + s.Name}}
	case s.Wish.Refused != "":
		return []Refusal{{Code: CodeRefused, Why: s.Wish.Refused, Next: "want something else of this host in ops-meta"}}
	case s.Blind != "":
		return []Refusal{{Code: s.Code, Why: s.Blind}}
	}
	var all []Refusal
	if s.Hold != nil {
		all = append(all, Refusal{Why: "held: " + s.Hold.Reason, Next: "ops-updater unhold " + s.Name})
	}
	free := s
	free.Hold = nil
	if r := free.refusalOf(free.decideNext()); r != nil {
		all = append(all, *r)
	}
	if why, code := s.whyUnverified(); why != "" {
		all = append(all, Refusal{Code: code, Why: why, Next: s.adviseUnverified()})
	}
	if last := s.Journal.Last; last.Phase == meta.PhaseIdle && IsSignatureCode(last.Code) && s.Wish.Agent.ConfigFileName != "" {
		all = append(all, Refusal{Code: last.Code, Why: last.Error, Next: signConfig(s.Wish)})
	}
	return all
}

func (s Situation) adviseUnverified() string {
	if s.Trust.Releases == meta.TrustRequire {
		return "deploy a release of " + s.Name + " that is signed"
	}
	return "deploy a release of " + s.Name + " that is signed, before trust.releases is require"
}

// refusalOf is what keeps step from being what is wanted, or nil.
func (s Situation) refusalOf(step Step) *Refusal {
	behind := s.Seen.Version != s.Wish.Agent.Version || step.Act.Replaces() || step.Act == ActWait
	unverified := s.Journal.SignatureBlock(s.Wish, s.Trust)
	switch {
	case step.Code == CodePolicy:
		return &Refusal{Code: step.Code, Why: strings.TrimPrefix(step.Reason, "refused: "), Next: "want something else of this host in ops-meta, or change policy in cfg.json"}
	case step.Code == CodeWindow:
		return &Refusal{Code: step.Code, Why: step.Reason}
	case unverified != nil && behind:
		return &Refusal{Code: unverified.Code, Why: unverified.Reason, Next: AdviseSigning(s.Wish, unverified.Code)}
	case step.Block != nil:
		return &Refusal{Code: step.Block.Code, Why: step.Block.Explain(), Next: "ops-updater clear " + s.Name + " tries it again at once"}
	}
	return nil
}

// SignatureBlock is why w could not be verified with the keys that count when it was tried
// last, also when it may be tried again by now; nil when nothing is known against it.
func (r *Record) SignatureBlock(w Wish, t Trust) *Block {
	i := r.blockIndex(r.SignatureKey(w, t))
	if i < 0 || w.Agent.Cmd != meta.CmdStart {
		return nil
	}
	return &r.Blocks[i]
}

// AdviseSigning is what to do about a release, or its configuration, that cannot be verified.
func AdviseSigning(w Wish, code string) string {
	sign := fmt.Sprintf("ops-meta releases sign %s %s --sign KEYFILE", w.Agent.Name, w.Agent.Version)
	if w.Agent.ConfigFileName != "" {
		sign += "; its configuration: " + signConfig(w)
	}
	switch code {
	case CodeUnsigned:
		return "sign it: " + sign
	case CodeUnknownKey:
		return "find out who signed it; if it is yours, sign it with a key that counts here: " + sign + ", or have the list of keys name that one: ops-meta key add"
	case CodeNoKeys:
		return "the list of keys (ops-meta key add), or trust.release_keys in cfg.json, has to name a release key"
	}
	return "find out who changed it; when it was made again after it was signed, sign it again: " + sign
}

func signConfig(w Wish) string {
	return fmt.Sprintf("ops-meta sign FILE --config %s --agent %s", w.Agent.ConfigFileName, w.Agent.Name)
}
