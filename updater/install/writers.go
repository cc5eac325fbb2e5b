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

// writers writes small files in parallel.
type writers struct {
	stage *stage
	tasks chan task
	free  chan []byte
	group sync.WaitGroup
	once  sync.Once
	err   error // the first one, once broken is set
	stop  atomic.Bool
}

func newWriters(s *stage) *writers {
	workers := min(max(2, runtime.GOMAXPROCS(0)), 4)
	c := &writers{stage: s, tasks: make(chan task, taskQueue), free: make(chan []byte, taskQueue+workers+1)}
	for range cap(c.free) {
		c.free <- nil
	}
	for range workers {
		c.group.Go(c.writeTasks)
	}
	return c
}

// takeBuffer is an empty buffer of taskBuffer bytes; it waits until one is free.
func (c *writers) takeBuffer() []byte {
	if b := <-c.free; b != nil {
		return b[:taskBuffer]
	}
	return make([]byte, taskBuffer)
}

func (c *writers) giveTask(t task) { c.tasks <- t }

func (c *writers) writeTasks() {
	for t := range c.tasks {
		if !c.stop.Load() {
			if err := c.writeTask(t); err != nil {
				c.once.Do(func() { c.err = err })
				c.stop.Store(true)
			}
		}
		t.dir.release()
		c.free <- t.content[:0]
	}
}

func (c *writers) writeTask(t task) error {
	f, err := t.createFile()
	if err != nil {
		return err
	}
	_, err = f.Write(t.content)
	if err = errors.Join(t.closeFile(f, err)); err != nil {
		return err
	}
	return c.stage.noteWritten(len(t.content))
}

// whyFailed is why there is no use in going on, if so.
func (c *writers) whyFailed() error {
	if c.stop.Load() {
		return errWriters
	}
	return nil
}

// errWriters stands for the workers' error, which wait returns.
var errWriters = errors.New("a file cannot be written")

// waitForAll ends the writers after what it was given.
func (c *writers) waitForAll() error {
	close(c.tasks)
	c.group.Wait()
	return c.err
}
