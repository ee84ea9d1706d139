# make alone lists the targets.
GOLANGCI = go tool -modfile=tools/go.mod golangci-lint
STATICCHECK = go tool -modfile=tools/go.mod staticcheck
FUZZTIME ?= 20s
TESTFLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup format vet staticcheck lint test check bench run fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the programs that the tests need, where that is possible
	@scripts/setup

format: ## fail on files that gofmt would change
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet: ## run go vet
	go vet ./...

staticcheck: ## run staticcheck
	$(STATICCHECK) ./...

lint: ## run the linters of .golangci.yml (the first time builds them, for minutes)
	$(GOLANGCI) run ./...

test: setup format vet staticcheck ## run every test, with the race detector, on SQLite and PostgreSQL
	EIDGATE_REQUIRE_TOOLS=1 CGO_ENABLED=1 go test -race -count=1 -timeout=15m $(TESTFLAGS) ./...

check: test lint ## everything: test and lint

bench: ## measure logins, memory, start-up, and what messages cost
	go test -run='^$$' -bench=. -benchmem ./test/...
	go test -run='^$$' -bench=. -benchmem ./internal/xmldsig ./protocol/idin ./internal/jose ./api/oidc ./store ./web/hosted

run: ## start broker, sandbox and demo on this machine
	go run ./cmd/eidgate dev

fuzz: ## run every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)
