package api

// CodeMissing is the code of a [Problem] with an input that names what there is
// not, such as the agent of a rollout.
const CodeMissing = "missing"

// Problem is an error as RFC 9457 problem+json. Hint says what to do next.
type Problem struct {
	Type     string `json:"type"` // a stable URN, urn:ops-meta:{code}
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Field    string `json:"field,omitempty"` // the input that is wrong

	Problems []FileProblem `json:"problems,omitempty"` // everything wrong with a file
}

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// Page is one page of a listing. Next is the cursor of the following page,
// empty on the last.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
	Total int    `json:"total,omitempty"`
}
