package release_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/release"
)

func TestDirIsABlobStore(t *testing.T) {
	root := t.TempDir()
	blobs, err := release.OpenDir(filepath.Join(root, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	testBlobs(t, blobs, root)
}

// put stores content the way an upload does.
func put(t *testing.T, blobs release.Blobs, dir string, content []byte) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "put-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	if err := blobs.Put(t.Context(), digest, f, int64(len(content))); err != nil {
		t.Fatal(err)
	}
	return digest
}

// testBlobs is what every implementation must do. dir is for the files that
// are put.
func testBlobs(t *testing.T, blobs release.Blobs, dir string) {
	ctx := t.Context()
	content := bytes.Repeat([]byte("0123456789"), 70_000)
	digest := put(t, blobs, dir, content)

	t.Run("serves ranges", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := blobs.Open(r.Context(), digest)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			defer c.Close()
			w.Header().Set("ETag", `"`+digest+`"`)
			http.ServeContent(w, r, "a.tar.gz", c.Modified, c)
		}))
		defer srv.Close()
		for _, c := range []struct {
			header, want string
			status       int
		}{
			{"", string(content), http.StatusOK},
			{"bytes=699995-", "56789", http.StatusPartialContent},
			{"bytes=12-15", "2345", http.StatusPartialContent},
			{"bytes=700000-", "", http.StatusRequestedRangeNotSatisfiable},
		} {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
			if c.header != "" {
				req.Header.Set("Range", c.header)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != c.status || c.want != "" && string(got) != c.want {
				t.Errorf("Range %q: %s, %d bytes, %v; want %d, %d bytes", c.header, resp.Status, len(got), err, c.status, len(c.want))
			}
		}
	})

	t.Run("keeps the same content once and makes it new again", func(t *testing.T) {
		before := kept(t, blobs)[digest]
		waitPast(t, before.Modified)
		if again := put(t, blobs, dir, content); again != digest {
			t.Fatalf("another digest: %s", again)
		}
		all := kept(t, blobs)
		if len(all) != 1 || all[digest].Size != int64(len(content)) || !all[digest].Modified.After(before.Modified) {
			t.Fatalf("got %v; want one, newer than %v", all, before.Modified)
		}
	})

	t.Run("refuses what is not a digest", func(t *testing.T) {
		for _, bad := range []string{"", "abc", "../" + digest[3:], strings.ToUpper(digest), strings.Repeat("é", 32)} {
			if _, err := blobs.Open(ctx, bad); err == nil || errors.Is(err, release.ErrNoBlob) {
				t.Errorf("Open(%q): %v; want a refusal", bad, err)
			}
			if err := blobs.Remove(ctx, bad, time.Now()); err == nil {
				t.Errorf("Remove(%q) was accepted", bad)
			}
		}
	})

	t.Run("removes only what is old enough", func(t *testing.T) {
		second := put(t, blobs, dir, []byte("second"))
		if err := blobs.Remove(ctx, digest, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, there := kept(t, blobs)[digest]; !there {
			t.Fatal("removed what was put after the moment")
		}
		for range 2 { // the second time it is not there
			if err := blobs.Remove(ctx, digest, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if all := kept(t, blobs); len(all) != 1 || all[second].Size != 6 {
			t.Fatalf("got %v; want only the second", all)
		}
		if _, err := blobs.Open(ctx, digest); !errors.Is(err, release.ErrNoBlob) {
			t.Fatalf("got %v; want ErrNoBlob", err)
		}
	})

	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { put(t, blobs, dir, []byte("the same")) })
		}
		wg.Wait()
		if n := len(kept(t, blobs)); n != 2 {
			t.Fatalf("%d blobs; want 2", n)
		}
	})
}

// waitPast waits until a store that counts whole seconds tells now from then.
func waitPast(t *testing.T, then time.Time) {
	t.Helper()
	for !time.Now().Truncate(time.Second).After(then) {
		<-time.After(10 * time.Millisecond)
	}
}
