// Command benchinstall times how fast a release gets from a server onto the
// disk: by ops-updater's own child, by curl piped into tar, and by wget, md5sum
// and tar one after the other. See scripts/bench-install.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-install:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var b bench
	serve := flag.String("serve", "", "only serve this file, on a port that is printed")
	flag.StringVar(&b.program, "program", "bin/ops-updater", "the sidecar to measure")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each way is measured")
	flag.StringVar(&b.cache, "cache", filepath.Join(os.TempDir(), "ops-updater-bench"), "where the tarball is kept for the next time")
	disk := flag.String("disk", os.TempDir(), "a directory on a disk")
	memory := flag.String("memory", "/dev/shm", "a directory in memory; empty: none")
	flag.Parse()
	if *serve != "" {
		return serveFile(ctx, *serve)
	}
	if err := b.startServer(ctx); err != nil {
		return err
	}
	defer b.close()
	for _, place := range []struct{ name, dir string }{{"disk", *disk}, {"memory", *memory}} {
		if place.dir == "" {
			continue
		}
		if err := b.measureWays(ctx, place.name, place.dir); err != nil {
			return err
		}
	}
	return nil
}

// serveFile is the separate process that stands for the release server.
func serveFile(ctx context.Context, path string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String() + "/bench-1.0.0.tar.gz")
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })}
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
