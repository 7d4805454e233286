# Thin on purpose: each target is a command you can type. `make` lists them.
CARGO ?= cargo
CONFIG ?= configs/head_only.toml
SWEEP ?= configs/sweeps/lr.toml
SHARED ?= ../shared/data
PHOTOS ?= $(SHARED)/pets $(SHARED)/hymenoptera
SECONDS ?= 60
RUNNER = $(CARGO) run --release --quiet --

.PHONY: help build demo test check run sweep torture fuzz bench bench-kernels bench-scale pixels memory bench-gpu proof gpu-check assets clean
help:                  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## */\t/' | expand -t 16

build:                 ## the program, in target/release
	$(CARGO) build --release

demo: build data/drawn-pets  ## build, draw pictures, train the demo twice: on learnt features, then on random ones
	$(RUNNER) configs/demo.toml
	$(RUNNER) configs/demo.toml --set name=demo_random --set model.weights=none
	$(RUNNER) compare latest:demo latest:demo_random

test:                  ## all tests; those that need ../shared/data say so when it is absent
	$(CARGO) test --release

check:                 ## format, lints, documentation and tests
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps --document-private-items
	$(MAKE) test

run: build             ## train CONFIG=configs/head_only.toml
	$(RUNNER) $(CONFIG)

sweep: build           ## the trials of SWEEP=configs/sweeps/lr.toml; typed again, only what is left of them
	$(RUNNER) sweep $(SWEEP)

torture:               ## kill runs KILLS=50 times at random moments (SEED=1) and compare what becomes of them
	RUNNER_TORTURE=$(or $(KILLS),50) RUNNER_TORTURE_SEED=$(or $(SEED),1) $(CARGO) test --release --test it torture -- --nocapture --include-ignored --test-threads 1

bench:                 ## the job beside PyTorch's (PYTHON=python3) on SHARED=../shared/data; BENCH=--quick for a try
	RUNNER_BENCH_DATA=$(SHARED) $(CARGO) bench --bench side_by_side -- $(BENCH)

bench-kernels:         ## the CPU's kernels one by one; BENCH=Adam for those of that name
	$(CARGO) bench --bench kernels -- $(BENCH)

bench-scale:           ## what a photo costs among 1,000, 10,000 and 100,000 of them
	$(CARGO) bench --bench scale -- $(BENCH)

pixels:                ## the JPEGs under PHOTOS=FOLDERS as Pillow and torchvision (PYTHON=python3) see them, against ours
	for kind in pixels tensor pil weights; do $(or $(PYTHON),python3) benches/reference.py $$kind $(PHOTOS) \
	  | $(CARGO) test --release --lib reference_on_stdin -- --nocapture --ignored || exit 1; done

memory:                ## what runs take at most, against what `runner plan` says, on SHARED=../shared/data
	RUNNER_BENCH_DATA=$(SHARED) $(CARGO) bench --bench memory -- $(BENCH)

bench-gpu:             ## the job beside PyTorch's on the first GPU, on drawn photos
	$(CARGO) bench --features cuda-nvrtc --bench side_by_side -- --device cuda $(BENCH)

proof: build           ## the real job on photographs: three head epochs, then features[24:] for one
	$(RUNNER) configs/head_only.toml --set data.root=$(SHARED)/pets --set phase.head.epochs=3 \
	  --set model.weights=$(SHARED)/weights/vgg16_imagenet_features.pth --set 'model.fresh=["classifier"]'
	$(RUNNER) configs/finetune.toml --set data.root=$(SHARED)/pets --set phase.features24.epochs=1
	$(RUNNER) compare latest:head_only latest:finetune

gpu-check:             ## the golden tests on the first GPU
	RUNNER_TEST_DEVICE=cuda $(CARGO) test --release --features cuda-nvrtc --lib -- --nocapture --test-threads 1 train:: model::

FUZZ_HOST = $(shell rustc -vV | sed -n 's/host: //p')
# What cargo-fuzz passes, without the sanitizers that stable Rust has not.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 \
  inline-8bit-counters pc-table trace-compares)
fuzz:                  ## what reads files of others, under libFuzzer for SECONDS=60 each; needs a C++ compiler
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --target $(FUZZ_HOST)
	cd fuzz && ulimit -v 3000000 && for target in $(notdir $(wildcard fuzz/corpus/*)); do \
	  mkdir -p target/corpus/$$target artifacts/$$target && target/$(FUZZ_HOST)/release/$$target \
	  -max_total_time=$(SECONDS) -max_len=32768 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	  -artifact_prefix=artifacts/$$target/ target/corpus/$$target corpus/$$target || exit 1; done

data/drawn-pets: | build
	rm -rf $@.part && $(RUNNER) sample-data $@.part --per-class 250 && mv $@.part $@

data/drawn-shapes: | build
	rm -rf $@.part && $(RUNNER) sample-data $@.part --task shapes --per-class 500 --no-broken && mv $@.part $@

assets: build data/drawn-shapes  ## train the embedded backbone again (about twenty minutes)
	run=$$($(RUNNER) configs/assets/drawings_v1.toml) && rm -f assets/vgg16_slim_drawings_v1.safetensors \
	  && $(RUNNER) export $$run assets/vgg16_slim_drawings_v1.safetensors --only features

clean:                 ## build products and drawings; runs stay
	$(CARGO) clean
	rm -rf data/drawn-pets data/drawn-shapes
