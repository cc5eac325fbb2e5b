package fleet

import (
	"context"
	"runtime"
	"sync"

	"github.com/ops-updater/ops-updater/meta/api"
)

// loadBatch is how many hosts a worker of Load takes at once.
const loadBatch = 256

// Load restores the hosts that a source hands out, about count of them, on
// all processors while the source reads on. Nothing may use the fleet
// meanwhile.
func (f *Fleet) Load(ctx context.Context, count int, source func(visit func(api.Host) error) error) error {
	f.reserve(count)
	batches := make(chan []api.Host, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for range max(runtime.GOMAXPROCS(0)-1, 1) { // one reads
		wg.Go(func() {
			for batch := range batches {
				for _, h := range batch {
					f.Restore(h)
				}
			}
		})
	}
	batch := make([]api.Host, 0, loadBatch)
	err := source(func(h api.Host) error {
		batch = append(batch, h)
		if len(batch) < loadBatch {
			return nil
		}
		full := batch
		batch = make([]api.Host, 0, loadBatch)
		select {
		case batches <- full:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(batches)
	wg.Wait()
	for _, h := range batch {
		f.Restore(h)
	}
	return err
}

// reserve makes room, so that the maps need not grow step by step.
func (f *Fleet) reserve(count int) {
	if f.Hosts() > 0 || count < shardCount {
		return
	}
	for i := range f.shards {
		f.shards[i].hosts = make(map[string]*host, count/shardCount+count/shardCount/8)
	}
	f.boots.hosts = make(map[uint64]bootEntry, count)
}
