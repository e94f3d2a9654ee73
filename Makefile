# Behalf. `make` alone lists the targets. The two that do everything on a fresh machine: `make demo` and `make test`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

APP     := internal/webui/app
DIST    := internal/webui/dist
SOURCES := $(shell find $(APP) -type f -not -path '*/node_modules/*' 2>/dev/null)
NODE_OK := $(shell node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>20||a==20&&b>=19?0:1)' 2>/dev/null && echo yes)
PORT    ?= 4000

# The race detector watches all but two that only compute in memory of their own, where it spent most of its time: SQLite,
# as Go, and argon2id. At the end of a program it need not wait a whole second for what may still come. Nobody runs a debugger
# on the tests: what one reads is not written, a tenth of the work of compiling.
RACE := -race -ldflags=-w -gcflags=all=-dwarf=false $(foreach p,modernc.org/... golang.org/x/crypto/argon2,'-gcflags=$(p)=-dwarf=false -race=false')
export GORACE ?= atexit_sleep_ms=20

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## the whole story with no account anywhere, then a server to look at (PORT=4000)
	@bin/behalf demo --port $(PORT)

.PHONY: build
build: ui ## one binary with the web UI in it: bin/behalf
	go build -o bin/behalf ./cmd/behalf

.PHONY: test
test: ## everything that must hold: formatting, vet, types, the UI's tests, all Go tests with the race detector
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'gofmt would change:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	@$(MAKE) --no-print-directory -j3 test-go test-behalf test-beside

# Three things at a time, for each is bound to one processor, or waits, for much of its time. The tests of cmd/behalf take turns
# at one sandbox, and would take longer than all others together: some of them, and those in Chromium, have another, beside.
BESIDE := ^Test(Chromium$$|A)
.PHONY: test-go test-behalf test-beside test-ui compiled modules
test-go: compiled ui
	go test $(RACE) -vet all -timeout 25m $$(go list ./... | grep -v /cmd/behalf$$)
test-behalf: compiled ui
	go test $(RACE) -vet all -timeout 25m -skip '$(BESIDE)' ./cmd/behalf
test-beside: compiled ui test-ui
	go test $(RACE) -vet off -timeout 25m -run '$(BESIDE)' ./cmd/behalf
test-ui: ui
	cd $(APP) && npm run --silent lint && npm run --silent test
compiled: modules setup
	go list -export $(RACE) ./... >/dev/null
modules:
	go list -deps -test ./... >/dev/null

.PHONY: bench
bench: ## every figure beside its floor, as a ratio of one run
	@go test -run '^$$' -bench Figures -benchtime 1x -timeout 30m ./cmd/behalf | grep -v -E '^(Benchmark|goos|goarch|pkg|PASS)' 
	@go test -run '^$$' -bench RotationWhileServing -benchtime 1x -timeout 10m ./internal/sqlstore | grep -E 's/rotation|sealed again'
	@go test -run '^$$' -bench 'Load500Cubes|Generate|Query' -benchtime 1s -benchmem ./internal/datamodel/... ./internal/sqlgen | grep ^Benchmark
	@go test -run '^$$' -bench 'Write|Query' -benchtime 1s ./internal/preagg | grep ^Benchmark
	@go test -run '^$$' -bench 'CacheHit|Uncached|TakeAlone' -benchtime 1s -benchmem ./orchestrator ./internal/caps | grep ^Benchmark
	@go test -run '^$$' -bench DueCrowd -benchtime 1x -timeout 60m ./internal/sqlstore | grep -E 'due grants|calls in a second|want'

.PHONY: reliability
reliability: setup ## kill, freeze and cut off real processes in every row of the fault matrix, and print its table (12 min)
	@go test ./cmd/behalf -run 'TestTheFaultMatrix|TestAnIndependentProvider' -whole-matrix $(if $(UPDATE),-update-matrix) -parallel 12 -timeout 20m

.PHONY: mutants
mutants: ## break the program in each way of scripts/mutants/mutants.yaml: a test must notice
	@go run ./scripts/mutants

.PHONY: setup
setup: ## install what the tests need and is missing, or say what could not be installed
	@scripts/setup

.PHONY: ui
ui: ## build the web UI if Node is there and its sources changed
ifeq ($(NODE_OK),yes)
ui: $(DIST)/index.html
else
	@echo 'The web UI is not built: it needs Node 20.19 or newer on PATH. The API, the sign-in and connect pages work without it.'
endif

$(APP)/node_modules/.package-lock.json: $(APP)/package-lock.json
	cd $(APP) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(DIST)/index.html: $(APP)/node_modules/.package-lock.json $(SOURCES)
	cd $(APP) && npm run --silent build
	@touch $@

.PHONY: generate
generate: $(APP)/node_modules/.package-lock.json ## write the files that are generated: openapi.json, the UI's types, golden files, docs/reference/presets.md
	go test ./internal/adminapi ./internal/sqlgen ./oauthapps -update
	cd $(APP) && npm run --silent generate

.PHONY: oracle
oracle: ## ask Cube's own schema compiler again about the cases in internal/sqlgen (MODEL=one,two; 130 MB of npm, kept out of CI)
	cd internal/sqlgen/oracle && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	go test ./internal/sqlgen -run TestRowsAreCubes -oracle $(or $(MODEL),all)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin $(APP)/node_modules internal/sandbox/{certified,cubeclient}/node_modules internal/sqlgen/oracle/node_modules
	find $(DIST) -mindepth 1 -not -name .keep -delete
