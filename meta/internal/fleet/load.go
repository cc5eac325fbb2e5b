package fleet

import (
	"context"
	"runtime"
	"sync"

	"github.com/ops-updater/ops-updater/meta/api"
)

// loadBatch is how many hosts a worker of Load takes at once.
const loadBatch = 256

// Stored is a host that is not decoded yet. Decode may use lists and maps of
// what it fills again.
type Stored interface{ Decode(into *api.Host) error }

// Load restores the hosts that a source hands out, about count of them, on
// all processors while the source reads on. Nothing may use the fleet
// meanwhile.
func Load[S Stored](ctx context.Context, f *Fleet, count int, source func(visit func(S) error) error) error {
	f.reserveHosts(count)
	batches := make(chan []S, runtime.GOMAXPROCS(0))
	empty := make(chan []S, cap(batches)+1)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	for range max(runtime.GOMAXPROCS(0)-1, 1) { // one reads
		wg.Go(func() {
			for batch := range batches {
				if err := restoreAll(f, batch); err != nil {
					fail(err)
				}
				select {
				case empty <- batch[:0]:
				default:
				}
			}
		})
	}
	batch := make([]S, 0, loadBatch)
	err := source(func(h S) error {
		batch = append(batch, h)
		if len(batch) < loadBatch {
			return nil
		}
		full := batch
		select {
		case batch = <-empty:
		default:
			batch = make([]S, 0, loadBatch)
		}
		select {
		case batches <- full:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(batches)
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return restoreAll(f, batch)
}

func restoreAll[S Stored](f *Fleet, batch []S) error {
	var h api.Host
	for _, stored := range batch {
		if err := stored.Decode(&h); err != nil {
			return err
		}
		f.Restore(h)
	}
	return nil
}

// reserveHosts makes room, so that the maps need not grow step by step.
func (f *Fleet) reserveHosts(count int) {
	if f.Hosts() > 0 || count < shardCount {
		return
	}
	for i := range f.shards {
		f.shards[i].hosts = make(map[string]*host, count/shardCount+count/shardCount/8)
	}
	f.boots.hosts = make(map[uint64]bootEntry, count)
}
