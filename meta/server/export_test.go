package server

import (
	"context"
	"time"
)

// ForgetSilent does what the hourly cleaning would do at a time.
func (s *Server) ForgetSilent(ctx context.Context, now time.Time) error {
	return s.backend.ForgetSilent(ctx, now)
}

// Clean does the hourly cleaning.
func (s *Server) Clean(ctx context.Context) { s.backend.Clean(ctx) }
