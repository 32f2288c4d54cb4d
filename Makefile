# Commands for working on Kiln. `make test` must pass.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: all build install engine podman demo test fast-test trials images conformance bench audit fuzz example schemas \
        clean

all: build

build:
	cargo build --release

# Installs Kiln with its manual and completions below PREFIX: `make`, then `sudo make install`, or
# `make install PREFIX=~/.local`.
PREFIX ?= /usr/local
share = $(DESTDIR)$(PREFIX)/share
kiln = target/release/kiln

install:
	test -x $(kiln) || cargo build --release
	install -D $(kiln) $(DESTDIR)$(PREFIX)/bin/kiln
	$(kiln) man $(share)/man/man1
	mkdir -p $(addprefix $(share)/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(kiln) completions bash > $(share)/bash-completion/completions/kiln
	$(kiln) completions zsh > $(share)/zsh/site-functions/_kiln
	$(kiln) completions fish > $(share)/fish/vendor_completions.d/kiln.fish

# Container engines with debian:bookworm, and a registry; see scripts/engine.
engine:
	scripts/engine base-image
	scripts/engine registry

podman:
	scripts/engine podman

# Builds six images with a real engine and runs one of them.
demo:
	@echo 'demo: compiles Kiln, starts a private Docker Engine, builds six small images and runs one; about 10 minutes on a bare machine, half a minute when repeated'
	cargo build --release
	scripts/engine base-image
	eval "$$(scripts/engine env)"; scripts/demo

test: engine podman
	scripts/install-tools
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --no-deps --quiet
	environment=$$(scripts/engine env); eval "$$environment"; cargo nextest run --no-fail-fast

# Builds the whole tree on Debian, checks every image, and writes docs/images.md: takes hours.
images: build engine
	scripts/install-tools
	environment=$$(scripts/engine env); eval "$$environment"; scripts/images

# Compares the rendered files with the real kolla-build for all releases of tests/conformance/matrix.toml,
# builds a part of a Kolla tree, reads 10,000 Dockerfiles beside BuildKit, and writes the table in docs/kolla.md: takes long.
conformance: build engine
	scripts/install-tools
	scripts/engine base-image debian:trixie
	scripts/kolla-releases 23.0.0
	environment=$$(scripts/engine env); eval "$$environment"; \
	    cargo nextest run --test conformance --test it --run-ignored all --no-fail-fast \
	    -E 'binary(conformance) or test(/^(kolla_build|dockerfile_frontend)::/)'

# Measures planning and building beside the real kolla-build, and writes docs/performance.md: takes a
# quarter of an hour.
bench: build
	scripts/engine base-image
	scripts/engine registry
	environment=$$(scripts/engine env); eval "$$environment"; scripts/bench --write docs/performance.md

# Checks licences, origins, duplicates and known vulnerabilities of the libraries. The last check needs the
# advisory database, from the network or from an earlier download; without it, it is skipped with a message.
audit:
	scripts/audit

# Fuzzes the readers of foreign data, ten minutes for each.
fuzz:
	scripts/fuzz 600

# Tests that need neither an engine nor a registry.
fast-test:
	cargo nextest run --profile fast

# Interrupts KILN_TRIALS (200) runs at random moments: takes hours.
trials: engine
	environment=$$(scripts/engine env); eval "$$environment"; \
	    cargo nextest run --test it --run-ignored only --no-capture -E 'test(/^signals::/)'

# Writes build.conf.example from the table of options.
example:
	cargo run --quiet -- config example > build.conf.example.new
	mv build.conf.example.new build.conf.example

# Writes docs/schemas from the types of the machine-readable outputs.
schemas:
	KILN_WRITE_SCHEMAS=1 cargo nextest run --lib schemas

clean:
	scripts/engine clean
	cargo clean
