# Two commands matter: `make certify` and `make test`. `make help` lists all.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CLUSTER   ?= vaultproof
NAMESPACE ?= vault
PROFILE   ?= certify
IMAGES    ?= auto
ARTIFACTS ?= artifacts
SEED      ?= 0
TRIALS    ?= 1
ARGS      ?=
QUESTION  ?= matrix
VAULT     ?= vault
ENGINE    ?= terraform
TARGET    ?=
RUN       ?= $(ARTIFACTS)/latest

BIN  := bin
TOOL := $(BIN)/vaultproof
VP   := $(TOOL) -cluster $(CLUSTER) -images $(IMAGES) -artifacts $(ARTIFACTS)
# Which Vault: the one in a namespace, or the one that a file tells of.
WHICH = $(if $(TARGET),-target $(abspath $(TARGET)),-namespace $(NAMESPACE))
# The profiles that look at tenants, of the stack's own Vault. The others have none of their cost.
TENANTS   = $(and $(filter certify tenancy,$(PROFILE)),$(filter vault,$(NAMESPACE)),$(if $(TARGET),,yes))
TERRAFORM = $(VP) -engine $(ENGINE)

.PHONY: certify
certify: up suites $(if $(TENANTS),tenant-up) ## Cluster, stack, suites, report: prints the verdict and the path of the page
	$(BIN)/suites.test -test.timeout 0 -kubeconfig "$$($(VP) kubeconfig)" -cluster-name $(CLUSTER) \
	  $(if $(TENANTS),-tenant-kubeconfig "$$($(VP) tenant-kubeconfig)" -terraform "$$($(TERRAFORM) terraform)" -terraform-mirror "$$($(TERRAFORM) terraform-mirror)") \
	  $(WHICH) -profile $(PROFILE) -artifacts "$(abspath $(ARTIFACTS))" -seed $(SEED) -trials $(TRIALS) $(ARGS)

.PHONY: tenants
tenants: ## The checks of tenants alone, with their cluster (ENGINE=terraform|tofu)
	$(MAKE) certify PROFILE=tenancy

.PHONY: tenant-up
tenant-up: up ## The cluster of tenants beside the stack, and Terraform
	$(VP) tenant-up
	@$(TERRAFORM) terraform >/dev/null

.PHONY: tenant-down
tenant-down: tool ## Delete the cluster of tenants; the stack stays
	$(VP) tenant-down

.PHONY: test
test: lint vulnerabilities unit smoke ## Lint, vulnerability check, race unit tests, end-to-end smoke on kind

.PHONY: up
up: tool ## Images, cluster, Secret Manager, Chaos Mesh and the hardened stack
	$(VP) up

.PHONY: images
images: tool ## Build or pull every image (IMAGES=pull|build|auto)
	$(VP) images

.PHONY: cluster
cluster: tool ## The multi-zone kind cluster; leaves one that is up alone
	$(VP) cluster

.PHONY: cluster-down
cluster-down: tool ## Delete the kind cluster, and that of tenants
	$(VP) cluster-down

.PHONY: recover
recover: tool ## Undo what a run that died left behind: chaos objects, cordons, probes
	$(VP) recover

.PHONY: rejudge
rejudge: tool ## Judge a stored run again without a cluster (RUN=artifacts/<id>)
	$(TOOL) rejudge "$(RUN)"

.PHONY: leakscan
leakscan: tool ## Search the running target for its secrets: objects, logs, nodes' disks, artifacts
	$(VP) $(WHICH) $(ARGS) leakscan

.PHONY: checks
checks: suites ## List the checks
	$(BIN)/suites.test -list

.PHONY: docs
docs: go ## Write suites/CHECKS.md from the specs
	go test ./suites -count=1 -run '^TestCatalogueIsUpToDate$$' -args -update-docs

.PHONY: plain
plain: tool ## A Vault by a chart's defaults beside the stack (needs `make up`), to be looked at
	$(VP) plain

.PHONY: plain-test
plain-test: plain suites ## The suites have to name every weakness of the plain Vault, and no other
	go test -count=1 -timeout 20m -tags e2e ./fixtures/plain/e2e -v -args -kubeconfig "$$($(VP) kubeconfig)" -suites "$(abspath $(BIN)/suites.test)"

.PHONY: plain-remove
plain-remove: tool ## Delete the plain Vault with its volumes
	$(VP) plain-remove

.PHONY: sabotage
sabotage: up suites ## The suites are killed at random moments and robbed of their means: nothing may be left, nothing certified
	go test -count=1 -timeout 90m -tags e2e ./fixtures/sabotage/e2e -v -args -kubeconfig "$$($(VP) kubeconfig)" -cluster $(CLUSTER) \
	  -suites "$(abspath $(BIN)/suites.test)" -vaultproof "$(abspath $(TOOL))"

.PHONY: clean
clean: tool ## recover, then delete cluster, containers and artifacts; keeps the image cache
	$(VP) clean

.PHONY: unit
unit: go ## Unit tests under the race detector, and those that it cannot watch without it
	go test -race ./...
	go test ./pkg/probe/...

.PHONY: smoke
smoke: up ## End-to-end proof of the fixtures on the kind cluster
	go test -count=1 -timeout 20m -tags e2e ./fixtures/environment/e2e -v -args -kubeconfig "$$($(VP) kubeconfig)"

.PHONY: lab
lab: go ## Real Vaults and crashing sidecars without a cluster (QUESTION=matrix|race|idle|scan, VAULT=binary)
	@command -v $(VAULT) >/dev/null || { echo "Vault is missing: give its binary with VAULT=/path/to/vault, see https://developer.hashicorp.com/vault/install" >&2; exit 1; }
	@mkdir -p $(BIN)
	go build -o $(BIN)/lab ./fixtures/cmd/lab
	CGO_ENABLED=0 go build -tags failpoints -o $(BIN)/bootstrap-failpoints ./bootstrap
	$(BIN)/lab -vault "$$(command -v $(VAULT))" -bootstrap $(BIN)/bootstrap-failpoints $(QUESTION)

.PHONY: lint
lint: go ## gofmt, vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [[ -n "$$unformatted" ]]; then echo "gofmt: run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags e2e ./fixtures/...
	go tool staticcheck ./...

.PHONY: vulnerabilities
vulnerabilities: go ## Known vulnerabilities in what we call
	@# govulncheck needs its database: where that cannot be reached the check has
	@# not been made, and says so. Any other failure is a failure.
	@if out=$$(go tool govulncheck ./... 2>&1); then echo "$$out"; \
	elif grep -qE 'dial tcp|no such host|i/o timeout|proxyconnect' <<<"$$out"; then \
	  echo "vulnerability check: NOT MADE, its database cannot be reached from this machine" >&2; \
	else echo "$$out" >&2; exit 1; fi

.PHONY: suites
suites: go
	@mkdir -p $(BIN)
	go test -c -o $(BIN)/suites.test ./suites

.PHONY: tool
tool: go
	@mkdir -p $(BIN)
	go build -o $(TOOL) ./fixtures/cmd/vaultproof

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go is missing: install Go 1.26 or newer from https://go.dev/doc/install" >&2; exit 1; }

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'
