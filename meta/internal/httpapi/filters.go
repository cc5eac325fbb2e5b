package httpapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Filters knows which values of filters exist.
type Filters interface {
	// Unknown is an error of KindInvalid when a value names nothing that there
	// is, or was.
	Unknown(ctx context.Context, f api.FilterNames) error

	// Nearest is the name of a noun, such as agent, that a name which there is
	// not was most likely meant to be, or "".
	Nearest(noun, name string) string
}

// withNearest is err with the nearest name, where it says that there is
// none of that name.
func (s *Server) withNearest(err error) error {
	var e *api.Error
	if !errors.As(err, &e) || e.Name == "" {
		return err
	}
	near := s.backend.Filters.Nearest(e.Noun, e.Name)
	if near == "" {
		return err
	}
	told := *e
	told.Hint = fmt.Sprintf("did you mean %q?", near)
	return &told
}

// refuseUnknownFilter is a page of a listing, unless that is empty because a filter names
// what does not exist: that would read as "there is none". Only then is looked.
func refuseUnknownFilter[T any](c *call, f api.FilterNames) func(api.Page[T], error) (api.Page[T], error) {
	return func(page api.Page[T], err error) (api.Page[T], error) {
		if err != nil || len(page.Items) > 0 || f == (api.FilterNames{}) || c.URL.Query().Get("cursor") != "" {
			return page, err
		}
		return page, c.server.backend.Filters.Unknown(c.Context(), f)
	}
}
