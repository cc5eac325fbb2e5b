package server

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// serveDownload serves what hosts fetch, at
// /releases/{agent}/{arch}/{agent}-{version}.tar.gz and, beside it, .md5,
// .sha256 and .minisig. It needs no database and no credential: releases are
// no secrets, and signatures prove them.
func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	tarball, suffix := cutSuffix(r.PathValue("file"))
	agent, arch := r.PathValue("agent"), r.PathValue("arch")
	version, ok := strings.CutPrefix(strings.TrimSuffix(tarball, ".tar.gz"), agent+"-")
	if !ok || meta.TarballName(agent, version) != tarball {
		http.NotFound(w, r)
		return
	}
	a, known := s.backend.Artifact(api.ReleaseKey{Agent: agent, Version: version, Arch: arch})
	if !known {
		http.NotFound(w, r)
		return
	}
	switch suffix {
	case ".md5":
		serveText(w, r, release.DigestLine(a.MD5, tarball))
	case ".sha256":
		serveText(w, r, release.DigestLine(a.SHA256, tarball))
	case ".minisig":
		if a.Signature == "" {
			http.NotFound(w, r)
			return
		}
		serveText(w, r, a.Signature)
	default:
		s.serveTarball(w, r, a, tarball)
	}
}

func cutSuffix(file string) (tarball, suffix string) {
	for _, s := range []string{".md5", ".sha256", ".minisig"} {
		if name, ok := strings.CutSuffix(file, s); ok {
			return name, s
		}
	}
	return file, ""
}

func serveText(w http.ResponseWriter, r *http.Request, text string) {
	serveAs(w, r, "text/plain; charset=utf-8", text)
}

func serveAs(w http.ResponseWriter, r *http.Request, media, text string) {
	w.Header().Set("Content-Type", media)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(text))
	}
}

// serveTarball serves content with Range and ETag, or says where it is.
func (s *Server) serveTarball(w http.ResponseWriter, r *http.Request, a api.Artifact, name string) {
	if a.External != "" {
		http.Redirect(w, r, a.External+"/"+url.PathEscape(a.Arch)+"/"+name, http.StatusFound)
		return
	}
	elsewhere, err := s.artifacts.Redirect(r.Context(), a.SHA256, name)
	if err != nil {
		s.log.Warn().Err(err).Str("tarball", name).Msg("cannot say where the artifact is")
		http.Error(w, "the artifact store cannot be reached", http.StatusServiceUnavailable)
		return
	}
	if elsewhere != "" {
		http.Redirect(w, r, elsewhere, http.StatusFound)
		return
	}
	content, err := s.artifacts.Open(r.Context(), a.SHA256)
	if errors.Is(err, release.ErrNoBlob) {
		s.log.Error().Str("sha256", a.SHA256).Str("tarball", name).Msg("the content of a release is missing")
		http.NotFound(w, r)
		return
	}
	if err != nil {
		s.log.Error().Err(err).Str("tarball", name).Msg("cannot open artifact")
		http.Error(w, "the artifact cannot be read", http.StatusInternalServerError)
		return
	}
	defer content.Close() //nolint:errcheck // only read
	h := w.Header()
	h.Set("Content-Type", "application/gzip")
	h.Set("ETag", `"`+a.SHA256+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(newPatient(w), r, "", content.Modified, content)
}
