package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/filelock"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/internal/unpack"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// reportInterval is how often the end of unpacking is reported.
const reportInterval = 200 * time.Millisecond

// Run installs job's release: afterwards {dir}/{version} is complete, verified
// and on the disk. Every error is an [*Error]; then there is no such directory,
// and nothing is left but a part that the next run goes on with. report is
// called from one goroutine at a time; nil is fine.
func Run(ctx context.Context, j job.Install, report func(job.Progress)) (job.Installed, error) {
	if report == nil {
		report = func(job.Progress) {}
	}
	if err := checkJob(j); err != nil {
		return job.Installed{}, failedForGood(CodeBadJob, "cannot install: %w", err)
	}
	r, err := runInstall(ctx, j, report)
	if err != nil {
		return job.Installed{}, onDisk(fmt.Sprintf("install %s %s", j.Agent, j.Version), err)
	}
	return r, nil
}

func runInstall(ctx context.Context, j job.Install, report func(job.Progress)) (job.Installed, error) {
	place, err := openPlace(ctx, j.Dir)
	if err != nil {
		return job.Installed{}, err
	}
	defer place.close()
	present, err := place.hasVersion(j.Version)
	if err != nil || present && !j.Anew {
		return job.Installed{Present: present}, err
	}
	if len(j.Tarballs) == 0 { // the reply is at fault, not the release
		return job.Installed{}, failedBecause(CodeBadJob, "cannot download %s %s: no tarball is named", j.Agent, j.Version)
	}
	if err := cleanStale(place.root, partName(j.Agent, j.Version)); err != nil {
		return job.Installed{}, err
	}
	client, err := newClient(j.Route, j.Limits.StallTimeout)
	if err != nil {
		return job.Installed{}, err
	}
	defer client.GetClient().CloseIdleConnections()
	in := &installation{job: j, place: place, files: small{client, j.Limits.StallTimeout, j.Limits.Retries}, report: report}
	want, err := in.files.wantedDigests(ctx, j)
	if err != nil {
		return job.Installed{}, err
	}
	return in.installRelease(ctx, want)
}

// installation is one run, from the known digest on.
type installation struct {
	job    job.Install
	place  *place
	files  small
	report func(job.Progress)
	stage  *stage
	part   *part
}

func (in *installation) installRelease(ctx context.Context, want digests) (r job.Installed, err error) {
	free := &guard{dir: in.place.dir, reserve: in.job.Limits.Reserve}
	in.stage = newStage(in.place.root, in.job.Version, unpackLimits(in.job.Limits), free)
	d := &download{
		job: in.job, client: in.files.client, limiter: newLimiter(in.job.Limits.MaxRate),
		free: free, want: want, report: in.report, signatures: map[string]trust.Signature{},
		verifier: verifier{in.job.Verify, in.files, trust.Release(in.job.Agent, in.job.Version, in.job.Verify.Arch)},
	}
	var size int64
	if in.part, size, err = openPart(in.place.root, partName(in.job.Agent, in.job.Version), want.keyOf(), d.sizeLimit()); err != nil {
		return r, onDisk("store the download", err)
	}
	defer func() { err = in.removeLeftovers(err) }()
	ps, err := d.downloadAll(ctx, in.part, in.stage, size > 0)
	if err != nil {
		return r, err
	}
	tree, err := in.unpackedTree(ps)
	if err != nil {
		return r, err
	}
	config, err := in.syncAndPlace(ctx)
	if err != nil {
		return r, err
	}
	got := ps.finalDigests()
	return job.Installed{MD5: got.md5, SHA256: got.sha256, Files: tree.files, Bytes: tree.bytes, Proof: d.proof, Config: config}, nil
}

// unpackedTree waits for the rest of the unpacking, which has gone on during the
// download.
func (in *installation) unpackedTree(ps *pass) (staged, error) {
	faultpoint.Hit("install.downloaded")
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	ps.flow.endWith(nil)
	for {
		in.report(job.Progress{Phase: meta.PhaseStaging, Done: in.stage.written.Load()})
		select {
		case <-ps.done:
			return ps.waitForUnpacker()
		case <-ticker.C:
		}
	}
}

// syncAndPlace makes the staged tree the version: config, sync, rename, sync. The
// part goes before the sync, which would otherwise write it to the disk.
func (in *installation) syncAndPlace(ctx context.Context) (config job.Proof, err error) {
	if config, err = in.addConfig(ctx); err != nil {
		return config, err
	}
	if err := in.part.removeFiles(); err != nil {
		return config, onDisk("remove the downloaded tarball", err)
	}
	if err := ctx.Err(); err != nil {
		return config, err
	}
	faultpoint.Hit("install.staged")
	if err := in.place.syncTree(in.stage.name, in.job.Limits.SyncTimeout); err != nil {
		return config, onDisk("sync the release to the disk", err)
	}
	faultpoint.Hit("install.synced")
	if err := in.place.putVersion(in.stage.name, in.job.Version); err != nil {
		return config, onDisk("put the release in its place", err)
	}
	if err := syncDir(in.place.root, "."); err != nil {
		return config, onDisk("sync the agent's directory", err)
	}
	_ = in.stage.removeTree() // what was replaced; else the next run of anything removes it
	return config, nil
}

// removeLeftovers leaves the part to a later run, if that can use it, and nothing else.
func (in *installation) removeLeftovers(err error) error {
	in.part.close()
	if err == nil {
		return nil
	}
	err = errors.Join(err, in.stage.removeTree())
	if e := onDisk("install", err); e.Permanent || e.Code == CodeNoSpace || e.Code == CodeBadSignature {
		err = errors.Join(err, in.part.removeFiles())
	}
	return err
}

// addConfig puts the remote configuration into the staged tree.
func (in *installation) addConfig(ctx context.Context) (proof job.Proof, err error) {
	c := in.job.Config
	if c == nil || c.URL == "" {
		return proof, nil
	}
	content, err := in.files.getFile(ctx, c.URL, in.job.Limits.MaxConfig)
	if err != nil {
		return proof, err
	}
	v := verifier{c.Verify, in.files, trust.Config(in.job.Agent, c.FileName)}
	if proof, err = v.verifyContent(ctx, c.URL, content); err != nil {
		return proof, err
	}
	root, err := in.place.root.OpenRoot(in.stage.name)
	if err != nil {
		return proof, err
	}
	defer root.Close() //nolint:errcheck // the file itself has been closed
	if err := placeConfig(root, c.FileName, content, false); err != nil {
		return proof, onDisk("put the configuration in its place", err)
	}
	return proof, nil
}

// place is the agent's directory, locked against a second install.
type place struct {
	root *os.Root
	dir  *os.File
	lock *filelock.Lock
}

func openPlace(ctx context.Context, dir string) (*place, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, onDisk("make the agent's directory", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, onDisk("open the agent's directory", err)
	}
	p := &place{root: root}
	if p.dir, err = root.Open("."); err == nil {
		p.lock, err = Lock(ctx, dir)
	}
	if err != nil {
		p.close()
		return nil, onDisk("open the agent's directory", err)
	}
	return p, nil
}

func (p *place) close() {
	if p.lock != nil {
		p.lock.Remove()
	}
	if p.dir != nil {
		_ = p.dir.Close()
	}
	_ = p.root.Close()
}

// putVersion gives the staged tree the version's name. A directory that has it
// gets the staged one's, in one step where the system can: .version may name it.
func (p *place) putVersion(staged, version string) error {
	if _, err := p.root.Lstat(version); errors.Is(err, fs.ErrNotExist) {
		return p.root.Rename(staged, version)
	}
	if done, err := exchange(p.dir, staged, version); done {
		return err
	}
	if err := p.root.Rename(version, stagingPrefix+"old-"+version); err != nil {
		return err
	}
	return p.root.Rename(staged, version)
}

// isWhole removes a directory that has a version's name and is no complete
// version: older programs unpacked into it, and a power cut leaves half of that.
func (p *place) isWhole(version string) (bool, error) {
	script := version + "/" + unpack.ControlName
	f, err := p.root.OpenFile(script, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, nil //nolint:nilerr // it is there, and may be executed and not read
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		if plainfile.Whole(f) {
			return true, nil
		}
	}
	trash := stagingPrefix + "half-" + version
	if err := p.root.RemoveAll(trash); err != nil {
		return false, err
	}
	if err := p.root.Rename(version, trash); err != nil {
		return false, err
	}
	return false, p.root.RemoveAll(trash)
}

// hasVersion reports whether the version is there, which means that it is complete.
func (p *place) hasVersion(version string) (bool, error) {
	fi, err := p.root.Lstat(version)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !fi.IsDir():
		return false, failedBecause(CodeOccupied, "cannot install: %s in the agent's directory is not a directory: remove it", version)
	}
	if whole, err := p.isWhole(version); err != nil || !whole {
		return false, err
	}
	for _, path := range []string{version, version + "/" + unpack.ControlName} {
		if err := rootpath.CheckOwner(filepath.Join(p.root.Name(), path), os.Geteuid()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, &Error{Code: CodeOccupied, Err: fmt.Errorf("cannot install: %w", err)}
		}
	}
	return true, nil
}
