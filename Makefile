# The one place of commands. `make` alone lists them.

CARGO_DENY  := cargo-deny 0.20.2
CARGO_FUZZ  := cargo-fuzz 0.13.2
FUZZ_SECONDS ?= 60
ONLY ?=

.PHONY: help setup build demo test test-kryoptic test-kmip-second bench lint fmt doc deny fuzz ci

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## Install the Debian packages, and PyKMIP in its cache, that the others need.
	@scripts/setup
	@scripts/pykmip >/dev/null

build: setup ## Build every binary.
	cargo build --locked --workspace --bins

demo: build ## See an encrypted image opened with a key that never leaves its (simulated) HSM.
	@scripts/demo

test: setup ## Run every test, simulators included.
	@scripts/test

test-kryoptic: ## Run the PKCS#11 contract suite on a second token, kryoptic (built once, a minute).
	@scripts/setup libclang-dev clang libsqlite3-dev
	@KRYOPTIC_MODULE="$$(scripts/kryoptic)" cargo test --locked -p holdfast-pkcs11 --test kryoptic

test-kmip-second: setup ## Run the KMIP contract suite on a second server, Cosmian KMS (built once, six minutes).
	@COSMIAN_KMS="$$(scripts/cosmian)" cargo test --locked -p holdfast-kmip --test second

bench: setup ## Measure: ours, the other side, the ratio. ONLY=unwrap/pkcs11 runs one group.
	cargo build --locked --release --bins
	cargo build --locked --release --examples -p holdfast-pkcs11 -p holdfast-tpm -p holdfast-kmip
	cargo bench --locked -p holdfast-e2e --bench bench -- $(if $(ONLY),--only "$(ONLY)")

lint: setup ## Format, clippy with warnings denied, licences and bans, documentation.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory deny doc

fmt: ## Format the sources.
	cargo fmt --all

doc: ## Build the documentation with warnings denied.
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

deny: ## Check dependencies: bans, licences, sources; advisories where their database can be had.
	@scripts/deny "$$(scripts/tool $(CARGO_DENY))"

fuzz: setup ## Fuzz each parser for FUZZ_SECONDS (needs a nightly toolchain).
	@scripts/fuzz "$$(scripts/tool $(CARGO_FUZZ))" $(FUZZ_SECONDS)

ci: ## Everything that must hold before a change lands.
	@.ci/run
