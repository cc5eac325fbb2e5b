package server

import (
	"context"
	"reflect"
	"slices"
)

// reloadable are the settings that count at once; the others need a restart.
var reloadable = []string{"interval", "desiredLifetime", "publicUrl", "logLevel", "tlsCert", "tlsKey"}

// Reload takes new settings while the server runs, and says which of the
// changed ones only count after a restart. A bad one changes nothing. The
// files of the TLS certificate are read again in any case.
func (s *Server) Reload(ctx context.Context, conf Config) (later []string, err error) {
	guessed := conf.guessesPublicURL()
	conf, err = conf.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := s.certificate.loadPair(conf); err != nil {
		return nil, err
	}
	old := reflect.ValueOf(&s.conf).Elem()
	for i, next := range fieldsOf(conf) {
		name := old.Type().Field(i).Tag.Get("yaml")
		if reflect.DeepEqual(old.Field(i).Interface(), next.Interface()) {
			continue
		}
		if slices.Contains(reloadable, name) {
			old.Field(i).Set(next)
			continue
		}
		later = append(later, name)
	}
	if s.conf.PublicURL == "" {
		s.conf.PublicURL = s.URL()
	}
	s.urlGuessed.Store(guessed)
	s.backend.UseSettings(s.conf.settings())
	s.log.Info().Strs("afterRestart", later).Msg("settings reloaded")
	return later, nil
}

func fieldsOf(conf Config) []reflect.Value {
	v := reflect.ValueOf(conf)
	fields := make([]reflect.Value, v.NumField())
	for i := range fields {
		fields[i] = v.Field(i)
	}
	return fields
}
