package install

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// Files up to taskBuffer are written by workers while the next ones are read;
// taskQueue bounds how many wait.
const (
	taskBuffer = 256 << 10
	taskQueue  = 16
)

// crew writes small files in parallel.
type crew struct {
	stage *stage
	tasks chan task
	free  chan []byte
	group sync.WaitGroup
	once  sync.Once
	err   error // the first one, once broken is set
	stop  atomic.Bool
}

func newCrew(s *stage) *crew {
	workers := min(max(2, runtime.GOMAXPROCS(0)), 4)
	c := &crew{stage: s, tasks: make(chan task, taskQueue), free: make(chan []byte, taskQueue+workers+1)}
	for range cap(c.free) {
		c.free <- nil
	}
	for range workers {
		c.group.Go(c.work)
	}
	return c
}

// buffer is an empty buffer of taskBuffer bytes; it waits until one is free.
func (c *crew) buffer() []byte {
	if b := <-c.free; b != nil {
		return b[:taskBuffer]
	}
	return make([]byte, taskBuffer)
}

func (c *crew) give(t task) { c.tasks <- t }

func (c *crew) work() {
	for t := range c.tasks {
		if !c.stop.Load() {
			if err := c.write(t); err != nil {
				c.once.Do(func() { c.err = err })
				c.stop.Store(true)
			}
		}
		t.dir.release()
		c.free <- t.content[:0]
	}
}

func (c *crew) write(t task) error {
	f, err := t.create()
	if err != nil {
		return err
	}
	_, err = f.Write(t.content)
	if err = errors.Join(t.close(f, err)); err != nil {
		return err
	}
	return c.stage.wrote(len(t.content))
}

// failed is why there is no use in going on, if so.
func (c *crew) failed() error {
	if c.stop.Load() {
		return errCrew
	}
	return nil
}

// errCrew stands for the workers' error, which wait returns.
var errCrew = errors.New("a file cannot be written")

// wait ends the crew after what it was given.
func (c *crew) wait() error {
	close(c.tasks)
	c.group.Wait()
	return c.err
}
