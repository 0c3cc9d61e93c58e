# `make demo` draws sample scenes; `make test` checks everything. Both first look for the tools that they need.
# `make bundle` packs the tests and benches for a machine with a GPU but without Rust, which runs them with bundle/run.

.PHONY: demo test bundle rust adapter

# Some Vulkan layers print a warning at every start if this is not set.
export XDG_RUNTIME_DIR ?= /tmp

# Where cargo builds; users may have moved it.
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

demo: rust
	cargo run --release --package tryon -- demo

test: adapter
	cargo fmt --all --check
	cargo clippy --release --all-targets -- -D warnings
	cargo test --release
	cargo run --release --example texture
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	cargo bench --bench cpu --bench kernels --bench generator --bench training -- --test

bundle: rust
	rm -rf bundle && mkdir -p bundle/bin bundle/tests
	cargo build --release --package tryon
	@for file in $$(cargo test --release --no-run --package alias --package alias-kernels 2>&1 \
			| sed -n 's/.*(\([^)]*\/release\/deps\/[^)]*\))/\1/p'); do cp $$file bundle/bin/test-$$(basename $$file); done
	@for file in $$(cargo bench --no-run --bench cpu --bench kernels --bench generator --bench training 2>&1 \
			| sed -n 's/.*(\([^)]*\/release\/deps\/[^)]*\))/\1/p'); do cp $$file bundle/bin/bench-$$(basename $$file); done
	cp $(RELEASE)/tryon bundle/bin/ && strip bundle/bin/*
	cp -r tests/golden bundle/tests/ && cp -r shaders bundle/
	rm -f bundle/bin/test-shaders-*
	@printf '%s\n' '#!/usr/bin/env bash' '# Runs the tests, then the benches, on the adapter that "bin/tryon info" names.' \
		'cd "$$(dirname "$$0")" || exit 1' 'bin/tryon info || exit 1' 'failed=0' \
		'for test in bin/test-*; do echo "== $$test"; "$$test" || failed=1; done' \
		'for bench in bin/bench-*; do echo "== $$bench"; "$$bench" --bench || failed=1; done' \
		'for p in f32 f16; do for o in "" --keep-tables --tune; do echo "== $$p $$o"; bin/tryon bench --precision $$p $$o || failed=1; done; done' \
		'exit $$failed' > bundle/run
	@chmod +x bundle/run && du -sh bundle

rust:
	@command -v cargo >/dev/null || { \
		echo "Rust is missing. Install it with: curl -sSf https://sh.rustup.rs | sh"; exit 1; }

# `tryon info --device gpu` fails without an adapter. Mesa's software adapter (lavapipe) needs no GPU.
adapter: rust
	cargo build --release --package tryon
	@$(RELEASE)/tryon info --device gpu >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			echo "no adapter: installing mesa-vulkan-drivers"; \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers; \
		elif command -v apt-get >/dev/null; then \
			echo "No adapter with Vulkan. Type: sudo apt-get install mesa-vulkan-drivers"; exit 1; \
		else \
			echo "No adapter with Vulkan, Metal or DX12. Install your GPU's Vulkan driver, or Mesa's lavapipe."; exit 1; \
		fi; }
	@$(RELEASE)/tryon info --device gpu
