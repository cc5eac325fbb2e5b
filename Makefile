# make help lists what can be made.
SHELL := /bin/bash
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
LDFLAGS := -s -w -X github.com/ops-updater/ops-updater/internal/buildinfo.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'

# Pinned; installed into bin/tools by scripts/tools.
export GOLANGCI_LINT_VERSION := v2.10.1
export GOFUMPT_VERSION := v0.12.0
# The last of its versions whose modules can all be had.
export NFPM_VERSION := v2.44.2
export GOVULNCHECK_VERSION := v1.1.4

.PHONY: build
build: ## both programs into bin/, static
	$(GOBUILD) -o bin/ops-updater .
	$(GOBUILD) -o bin/ops-meta ./cmd/ops-meta

.PHONY: test
test: ## everything: vet, unit, property, interop and end-to-end tests with the race detector, both databases, cross-builds
	scripts/test

.PHONY: check
check: ## within a minute: vet, lint, and the tests that need no services and no processes
	scripts/check

.PHONY: lint
lint: ## golangci-lint, gofumpt and shellcheck at their pinned versions
	scripts/lint

.PHONY: demo
demo: ## the whole story on this machine, with a real agent; KEEP=1 leaves it running to play with
	scripts/demo

.PHONY: cross
cross: ## every platform the sidecar is shipped for, into dist/
	scripts/cross

.PHONY: release
release: ## what is handed out, into dist/release: tarballs, packages, SHA256SUMS, SBOM; the same commit makes the same bytes
	scripts/release

.PHONY: release-twice
release-twice: ## the release of HEAD made twice, in different directories, and compared byte by byte (minutes)
	scripts/release-twice

.PHONY: vuln
vuln: ## known vulnerabilities that our programs can reach (needs their database, or GOVULNDB)
	scripts/vuln

.PHONY: bench
bench: ## the sidecar: install speed against curl|tar and wget+tar, downtime, resident memory (minutes)
	scripts/bench

.PHONY: bench-meta
bench-meta: ## ops-meta: heartbeats against a bare handler, a million hosts for two minutes (minutes)
	scripts/bench-meta

.PHONY: attacks
attacks: ## every attack of docs/TRUST.md in every variant, against the real sidecar (minutes)
	ATTACKS=all go test -count=1 -timeout 1h ./updater/attacks

.PHONY: abuse
abuse: ## a server under abuse of one address, each kind for ABUSE (default 20s), beside a host that is served (minutes)
	ABUSE=$${ABUSE:-20s} go test -count=1 -timeout 30m -v -run TestOthersAreServedWhileTheServerIsAbused . | grep -E 'ABUSE|^(ok|FAIL|---)'

.PHONY: sim-rollout
sim-rollout: ## 100 000 simulated hosts through a five-stage rollout (minutes)
	scripts/sim-rollout

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each (default 1m)
	scripts/fuzz

.PHONY: soak
soak: ## one sidecar, five agents, a server that changes its mind, 1 000 kill -9s; SEED repeats a run, KILLS says how many (minutes)
	scripts/soak

.PHONY: soak-kill
soak-kill: ## kill -9 of ops-meta under load, 50 times, and of the sidecar at every state (minutes)
	scripts/soak-kill

.PHONY: matrix
matrix: ## every fault in every phase of every step, on hosts of their own, as root; goes on where it was cut off (an hour)
	scripts/matrix

.PHONY: powerloss
powerloss: ## an upgrade cut off by a power loss at every point that leaves something else, as root (minutes)
	scripts/powerloss

.PHONY: clean
clean: ## what the targets above made in this directory
	rm -rf bin dist coverage.out

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
