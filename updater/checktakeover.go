package updater

import (
	"fmt"

	"github.com/ops-updater/ops-updater/updater/takeover"
)

// checkTakeover says which version of the sidecar every start goes on as, where that is
// not what is installed.
func checkTakeover(varDir string) []Finding {
	s, err := takeover.Load(varDir)
	switch {
	case err != nil:
		return []Finding{{
			Name: "sidecar", Verdict: VerdictWarn, Detail: err.Error() + "; what is installed runs",
			Mend: "the next update of the sidecar begins it anew; nothing has to be done",
		}}
	case s.Current.Path == "" || s.Current.Path == s.Installed.Path:
		return nil
	}
	if err := s.Check(); err != nil {
		return []Finding{{
			Name: "sidecar", Verdict: VerdictWarn, Detail: fmt.Sprintf("version %s is current and cannot be run: %v; the next start is of %s, which is installed", s.Current.Version, err, s.Installed.Version),
			Mend: "nothing, where the server wants another version than that; it is installed again",
		}}
	}
	return []Finding{{
		Name: "sidecar", Verdict: VerdictOK,
		Detail: fmt.Sprintf("%s, which is installed, goes on as %s in %s", s.Installed.Version, s.Current.Version, s.Current.Path),
	}}
}

// standOf is what the status says of the sidecar's own versions: which one is
// installed, where another one runs, and what is on trial.
func standOf(varDir, running string) (installed, trial string) {
	s, err := takeover.Load(varDir)
	if err != nil {
		return "", ""
	}
	if s.Installed.Version != running {
		installed = s.Installed.Version
	}
	if t := s.Trial; t != nil && t.Ending == "" && t.Stage == takeover.StageExecuting && t.To.Version == running {
		trial = fmt.Sprintf("it took over from %s, and a heartbeat has to be answered within %s of that", t.From.Version, t.Patience)
	}
	return installed, trial
}
