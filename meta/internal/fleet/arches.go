package fleet

// HasArch reports whether some host is of an arch.
func (f *Fleet) HasArch(arch string) bool {
	for i := range f.shards {
		if f.shardHasArch(i, arch) {
			return true
		}
	}
	return false
}

func (f *Fleet) shardHasArch(i int, arch string) bool {
	sh := &f.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range sh.hosts {
		if h.facts != zeroFacts && h.facts.Value().arch == arch {
			return true
		}
	}
	return false
}
