package server

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// openArtifacts opens the directory of artifacts, or the object store that is
// used instead.
func (s *Server) openArtifacts(ctx context.Context) error {
	blobs, err := openBlobs(ctx, s.conf)
	if err != nil {
		return err
	}
	s.artifacts, err = release.Open(release.Config{Blobs: blobs, Incoming: s.conf.path("artifacts", "incoming"), MaxTarball: s.conf.MaxTarball})
	return err
}

func openBlobs(ctx context.Context, conf Config) (release.Blobs, error) {
	if conf.Artifacts == "" {
		return release.OpenDir(conf.path("artifacts", "blobs"))
	}
	s3, err := release.ParseS3(conf.Artifacts)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Field: "artifacts", Message: err.Error()}
	}
	return release.OpenS3(ctx, s3)
}
