# Builds, runs and tests Pylon. On Debian with a Rust toolchain, each target installs what else it needs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Debian has servers where only root looks for commands.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
PYTHON := .venv/bin/python

# What must be there, as COMMAND:PACKAGE; `python3-venv` is a module of Debian's python3.
BUILD_TOOLS := cc:build-essential cmake:cmake
TEST_TOOLS := python3:python3 python3-venv:python3-venv curl:curl openssl:openssl ss:iproute2 prometheus:prometheus kubectl:kubernetes-client haproxy:haproxy chromium:chromium chromedriver:chromium-driver slapd:slapd ldapadd:ldap-utils htpasswd:apache2-utils redis-server:redis-server etcd:etcd-server etcdctl:etcd-client

# The suites of pytest below tests: two lanes that run at the same time, and those that measure.
SUITES_1 := faults edge files instances
SUITES_2 := clients records console identity limits systems
SUITES_ALONE := observe edge_attacks

.PHONY: help build run test lint build-tools test-tools lint-tools python

help:
	@echo 'make run    build Pylon and run its demo: stand-ins of all services, and Pylon before them'
	@echo '            (ARGS="--listen 0.0.0.0:8000" is handed on)'
	@echo 'make build  build target/release/pylon'
	@echo 'make test   run all tests'
	@echo 'make lint   check format, lints, documentation and the configurations in conf/'

build: build-tools
	@cargo build --release --locked

run: build
	@exec '$(TARGET)/release/pylon' demo $(ARGS)

test: build-tools test-tools python
	@cargo test --locked
	@PYLON_BIN='$(TARGET)/debug/pylon' tests/support/suites.sh '$(abspath $(PYTHON))' '$(SUITES_1)' '$(SUITES_2)' '$(SUITES_ALONE)'

# The build is that of the tests, so that nothing is compiled twice.
lint: build-tools lint-tools
	@cargo fmt --check
	@cargo clippy --locked --all-targets --quiet -- -D warnings
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
	@cargo test --locked --no-run --quiet
	@www=$$(mktemp -d); trap 'rm -r "$$www"' EXIT; mkdir "$$www/assets"; touch "$$www/favicon.ico" "$$www/timedout.html"; \
	  export WWW_ROOT="$$www" SESSKEY=a-key-that-only-this-check-has SSL_ENABLE=false BACKENDAI_MANAGER_URI=http://127.0.0.1:8081 \
	    MLIY_URI=http://127.0.0.1:8082 MLIY_DOMAIN=ml.example.org MLIY_SIGN_IN_PROXIES=10.0.0.0/28; \
	  '$(TARGET)/debug/pylon' check conf/*.yaml

build-tools:
	@command -v cargo >/dev/null || { echo 'cargo is missing; install Rust: https://rustup.rs' >&2; exit 1; }
	@$(call install,$(BUILD_TOOLS))

test-tools:
	@$(call install,$(TEST_TOOLS))

lint-tools:
	@for part in clippy fmt; do \
	  cargo $$part --version >/dev/null 2>&1 || rustup component add $${part/#fmt/rustfmt} || \
	    { echo "cargo $$part is missing and rustup could not add it" >&2; exit 1; }; \
	done

# A virtual environment with exactly tests/requirements.txt; it is made anew when Python or that file has changed.
python: test-tools
	@if ! cmp -s tests/requirements.txt .venv/installed || ! $(PYTHON) -c 'import pytest' 2>/dev/null; then \
	  echo 'Installing the Python packages of the tests into .venv'; \
	  python3 -m venv --clear .venv; \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input -r tests/requirements.txt; \
	  cp tests/requirements.txt .venv/installed; \
	fi

# Installs the Debian packages of those commands that are missing; apt is not run when none is.
define install
has() { case $$1 in python3-venv) python3 -c 'import ensurepip' ;; *) command -v "$$1" ;; esac >/dev/null 2>&1; }; \
packages=(); \
for tool in $(1); do has "$${tool%%:*}" || packages+=("$${tool#*:}"); done; \
if (( $${#packages[@]} )); then \
  echo "Installing $${packages[*]}"; \
  command -v apt-get >/dev/null || { echo "Install these first: $${packages[*]} (there is no apt-get here)" >&2; exit 1; }; \
  root=(env); \
  if (( $$(id -u) )); then \
    command -v sudo >/dev/null || { echo "Install these first, as root: apt-get install $${packages[*]}" >&2; exit 1; }; \
    root=(sudo env); \
  fi; \
  apt=("$${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o=Dpkg::Use-Pty=0 -o=DPkg::Lock::Timeout=300); \
  log=$$(mktemp); \
  { "$${apt[@]}" update && "$${apt[@]}" install --yes --no-install-recommends "$${packages[@]}"; } >"$$log" 2>&1 || \
    { cat "$$log" >&2; echo "apt-get could not install: $${packages[*]}" >&2; exit 1; }; \
  rm -f "$$log"; \
fi
endef
