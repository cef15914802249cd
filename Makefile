# Nepho. "make help" lists the targets.

# What bin/nepho says its version is: the tag, or the commit since one.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@echo "Nepho needs Go and make; the tests install what else they need with apt."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: require-go ## build bin/nepho, one static file
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/nepho ./agent/cmd/nepho

.PHONY: run
run: build ## build, then watch this machine's samples flow (state in ./var, end with Ctrl-C)
	@echo
	@echo "Status page: http://127.0.0.1:8790/   Stop: Ctrl-C   Samples follow."
	@echo
	@exec bin/nepho run --config conf/quickstart.toml

.PHONY: test
test: ## install the real parts, then run every check and test; leaves nothing running
	@scripts/test.sh

.PHONY: test-unit
test-unit: ## unit tests of both modules with the race detector
	@scripts/test.sh parts unit

.PHONY: test-integration
test-integration: ## tests of the built binary against real parts, and the example plugins
	@scripts/test.sh parts build integration examples

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME each (default 10s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

.PHONY: bench
bench: build ## measure; prints JSON lines. PEERS=1 installs and measures the peers as well
	@PEERS=$(PEERS) go run ./integration/bench

.PHONY: lint
lint: ## gofmt, go vet and staticcheck on every module
	@scripts/test.sh format vet staticcheck

.PHONY: vet
vet: ## go vet on every module
	@scripts/test.sh vet

.PHONY: generate
generate: require-go ## generate the Go code of the wire protocol from sdk/wire/*.proto
	@scripts/generate.sh

.PHONY: clean
clean: ## remove bin and the state of "make run"
	rm -rf bin var

.PHONY: require-go
require-go:
	@scripts/require-go.sh
