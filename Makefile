# Every target says what it does in its ## text; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Node 24 comes from the registry package, whatever node the machine has: npm itself needs only some node to start.
export PATH := $(CURDIR)/node_modules/node/bin:$(CURDIR)/node_modules/.bin:$(PATH)
ESM := NODE_OPTIONS="--experimental-vm-modules --disable-warning=ExperimentalWarning"

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

node_modules/.dovecote-installed: package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed to start (any version from 10 on); Node 24 itself comes from the registry"; exit 1; }
	npm ci --no-audit --no-fund
	@touch $@

.PHONY: install
install: node_modules/.dovecote-installed ## Install what package-lock.json pins, Node 24 included

.PHONY: build
build: install ## Bundle operator and runner into dist/
	@node hack/bundle.ts

.PHONY: demo
demo: build ## Start everything in one process and print the address of the web chat (Ctrl-C ends it)
	@node dist/operator/main.mjs local --manifests docs/examples --state .local --fallback-provider demo

.PHONY: gen
gen: install ## Regenerate protobuf code, CRDs and generated docs
	@cd proto && buf generate
	@node crds/generate.ts
	@mkdir -p charts/dovecote/files/crds && cp crds/*.yaml charts/dovecote/files/crds/

.PHONY: fmt
fmt: install ## Format
	@biome check --write --log-level=error .

.PHONY: lint
lint: install ## Lint code, protos and the fences between roles
	@biome check --error-on-warnings .
	@cd proto && buf lint
	@node hack/checks/fences.ts

.PHONY: types
types: install ## Check types
	@tsc --build

.PHONY: test
test: build ## Unit, contract, crash and local end-to-end tests (no cluster)
	@$(ESM) node hack/test.ts local

.PHONY: e2e
e2e: build ## The scenarios on a real Kubernetes: KUBECONFIG if set, else kind, else a cluster built from source
	@$(ESM) node hack/test.ts cluster

.PHONY: requirements
requirements: install ## One line per requirement id, from the last test runs
	@node e2e/requirements-report.ts

.PHONY: bench
bench: build ## Measure, print a table, write e2e/bench/results.json (ARGS=--cluster for a real cluster's figures too)
	@node hack/bench.ts $(ARGS)

.PHONY: images
images: build ## OCI archives of the operator and the runner, without a registry
	@hack/images/build operator && hack/images/build runner

.PHONY: docs-check
docs-check: install ## Every path named in a document exists
	@node hack/checks/docs.ts

.PHONY: breaking
breaking: install ## Protobuf changes that would break a running neighbour
	@cd proto && buf breaking --against '../.git#branch=main,subdir=proto'

.PHONY: verify
verify: gen lint types test docs-check ## Everything that must hold before a change lands; fails on a dirty tree
	@git diff --exit-code

.PHONY: clean
clean: ## Remove what was built
	rm -rf dist .local
