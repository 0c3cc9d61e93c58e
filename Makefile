# Two commands: `make demo` draws sample scenes, `make test` checks everything. Both look for what they need first.

.PHONY: demo test rust adapter

# Some Vulkan layers complain, on every start, where no session has set this.
export XDG_RUNTIME_DIR ?= /tmp

demo: adapter
	cargo run --release --package tryon -- demo

test: adapter
	cargo fmt --all --check
	cargo clippy --release --all-targets -- -D warnings
	cargo test --release
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	cargo bench --bench kernels --bench generator -- --test

rust:
	@command -v cargo >/dev/null || { \
		echo "Rust is missing. Install it with: curl -sSf https://sh.rustup.rs | sh"; exit 1; }

# `tryon info` fails where there is no adapter; Mesa's software one, which needs no GPU, is the way out.
adapter: rust
	cargo build --release --package tryon
	@target/release/tryon info >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			echo "no adapter: installing mesa-vulkan-drivers"; \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers; \
		elif command -v apt-get >/dev/null; then \
			echo "No adapter with Vulkan. Type: sudo apt-get install mesa-vulkan-drivers"; exit 1; \
		else \
			echo "No adapter with Vulkan, Metal or DX12. Install your GPU's Vulkan driver, or Mesa's lavapipe."; exit 1; \
		fi; }
	@target/release/tryon info
