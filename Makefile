# One name per task. `make` lists them.
SHELL := /bin/bash
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help test race lint fuzz bench demo build image clean

help: ## list the tasks
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

test: ## run every test; what the machine lacks is skipped by name
	go test ./...

race: ## run the tests with the race detector (needs a C compiler)
	go test -race ./stock/... ./config/... ./mapping/... ./connectors/... ./sync/... ./store/... ./web/...

lint: ## run the linters of .golangci.yml; the first run builds them, which takes two minutes
	go run $(GOLANGCI_LINT) run ./...

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -euo pipefail; grep -rHoE --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]+' . | sort | \
	while IFS=: read -r file target; do \
		go test "$$(dirname "$$file")" -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZTIME); \
	done

bench: ## measure the figures of docs/performance.md
	go run ./bench

demo: ## a pretend shop, marketplace and warehouse with truestock between them
	go run ./cmd/truestock demo

build: ## build ./truestock, static, without cgo
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o truestock ./cmd/truestock

image: ## build the container image
	docker build -t truestock .

clean: ## remove what build made
	rm -f truestock
