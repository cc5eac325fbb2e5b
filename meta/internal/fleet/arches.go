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

// EachFacts calls do with every host that has reported, by name, as selectors
// see it. No lock is held meanwhile.
func (f *Fleet) EachFacts(do func(Facts)) {
	for _, name := range f.sortedNames() {
		sh := f.shardOf(name)
		sh.mu.Lock()
		h := sh.hosts[name]
		known := h != nil && h.facts != zeroFacts
		var facts Facts
		if known {
			facts = f.factsOf(h)
		}
		sh.mu.Unlock()
		if known {
			do(facts)
		}
	}
}
