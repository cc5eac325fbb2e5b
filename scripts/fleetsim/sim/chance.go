package sim

import "hash/fnv"

// drawChance draws a number in [0, 1) that depends on nothing but its arguments.
func drawChance(seed uint64, parts ...uint64) float64 {
	return float64(mixParts(seed, parts...)>>11) / (1 << 53)
}

// mixParts is splitmix64 over the parts.
func mixParts(seed uint64, parts ...uint64) uint64 {
	x := seed
	for _, p := range parts {
		x += 0x9e3779b97f4a7c15 ^ p
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

// What is drawn, so that one draw tells nothing of another.
const (
	drawDialect = iota + 1
	drawChange
	drawRestart
	drawFate
	drawJitter
	drawBoot
	drawStart
)

func hashText(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}
