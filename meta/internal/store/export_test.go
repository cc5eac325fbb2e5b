package store

import "context"

// Exec runs a statement past the store's methods.
func Exec(s *Store, query string) error {
	_, err := s.writer.ExecContext(context.Background(), query)
	return err
}
