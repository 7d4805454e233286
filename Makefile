# Each target wraps a command that you can also type yourself. `make` lists them.
CARGO ?= cargo
CONFIG ?= configs/head_only.toml
SWEEP ?= configs/sweeps/lr.toml
SHARED ?= ../shared/data
PHOTOS ?= $(SHARED)/pets $(SHARED)/hymenoptera
SECONDS ?= 60
SLURM ?= ../shared/slurm/with-slurm.sh
RUNNER = $(CARGO) run --release --quiet --

.PHONY: help build demo test check lint deny run sweep torture slurm fuzz bench bench-kernels bench-fronts bench-head bench-operations bench-scale bench-trials bench-predict bench-startup pixels memory bench-gpu proof gpu-check assets clean
help:                  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## */\t/' | expand -t 16

build:                 ## build the release binary in target/release
	$(CARGO) build --release

demo: build data/drawn-pets  ## build, draw sample images, train the demo with pretrained and with random features
	$(RUNNER) configs/demo.toml
	$(RUNNER) configs/demo.toml --set name=demo_random --set model.weights=none
	$(RUNNER) compare latest:demo latest:demo_random

test:                  ## run all tests; those that need ../shared/data are skipped if it is missing
	$(CARGO) test --release

check: lint deny test  ## check formatting, lints, documentation and dependencies, then run all tests

lint:                  ## check formatting, lints and documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps --document-private-items

deny:                  ## check licenses and sources of dependencies; skipped without cargo-deny
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check bans licenses sources; \
	  else echo "SKIPPED: cargo-deny is not installed (cargo install --locked cargo-deny)"; fi

run: build             ## train CONFIG=configs/head_only.toml
	$(RUNNER) $(CONFIG)

sweep: build           ## run the trials of SWEEP=configs/sweeps/lr.toml; run again to finish the rest
	$(RUNNER) sweep $(SWEEP)

torture:               ## kill runs KILLS=50 times at random moments (SEED=1) and compare their results
	RUNNER_TORTURE=$(or $(KILLS),50) RUNNER_TORTURE_SEED=$(or $(SEED),1) $(CARGO) test --release --test it torture -- --nocapture --include-ignored --test-threads 1

slurm:                 ## run sweeps in a real Slurm, which the script SLURM=../shared/slurm/with-slurm.sh starts; needs root
	@if [ ! -x "$(SLURM)" ]; then echo "SKIPPED: no sweeps in Slurm: $(SLURM) is absent"; \
	  elif [ "$$(id -u)" != 0 ]; then echo "SKIPPED: no sweeps in Slurm: only root can start a cluster"; \
	  elif ! "$(SLURM)" true; then echo "SKIPPED: no sweeps in Slurm: $(SLURM) cannot start a cluster here"; \
	  else RUNNER_TEST_SLURM="$(abspath $(SLURM))" \
	  $(CARGO) test --release --test it cluster:: -- --ignored --nocapture --test-threads 6; fi

bench:                 ## compare training with PyTorch (PYTHON=python3) on SHARED=../shared/data; BENCH=--quick for a short run
	RUNNER_BENCH_DATA=$(SHARED) $(CARGO) bench --bench side_by_side -- $(BENCH)

bench-kernels:         ## benchmark the CPU kernels; BENCH=Adam selects by name
	$(CARGO) bench --bench kernels -- $(BENCH)

bench-fronts:          ## compare frozen layers with PyTorch and ONNX Runtime (PYTHON=python3); BENCH="resnet50 vgg16" selects
	$(or $(PYTHON),python3) benches/fronts.py $(BENCH)

bench-head: build      ## compare ten head epochs of ResNet-50 with PyTorch (PYTHON=python3) on the photos in SHARED
	$(or $(PYTHON),python3) benches/resnet50_head.py $(SHARED)/pets

bench-operations:      ## compare operations of trained layers with PyTorch (PYTHON=python3); BENCH=conv selects by name
	$(CARGO) bench --bench operations -- $(BENCH)

bench-scale:           ## benchmark data sets of up to 1,000,000 images (needs 6 GB of disk), and a sweep
	$(CARGO) bench --bench scale -- $(BENCH)

bench-trials:          ## benchmark sweeps of 1,000 and 10,000 finished trials
	$(CARGO) bench --bench scale -- --only-trials $(BENCH)

bench-predict:         ## measure the rate of predictions on the photos in SHARED, and their memory for 100,000 files
	$(CARGO) bench --bench predict -- --photos $(abspath $(SHARED))/pets $(BENCH)

bench-startup:         ## measure the start and the end of a run, and the use of the cores while the cache is filled, on SHARED=../shared/data
	$(CARGO) bench --bench startup -- --photos $(abspath $(SHARED))/pets --features $(abspath $(SHARED))/weights/vgg16_imagenet_features.pth $(BENCH)

pixels:                ## compare decoding and preprocessing of the JPEGs in PHOTOS=FOLDERS with Pillow and torchvision (PYTHON=python3)
	for kind in pixels tensor crop pil weights; do $(or $(PYTHON),python3) benches/reference.py $$kind $(PHOTOS) \
	  | $(CARGO) test --release --lib reference_on_stdin -- --nocapture --ignored || exit 1; done

memory:                ## compare peak memory with the prediction of `runner plan`, on SHARED=../shared/data
	RUNNER_BENCH_DATA=$(SHARED) $(CARGO) bench --bench memory -- $(BENCH)

bench-gpu:             ## compare training with PyTorch on the first GPU, on drawn images
	$(CARGO) bench --features cuda-nvrtc --bench side_by_side -- --device cuda $(BENCH)

proof: build           ## train on photos: three head epochs, then one epoch of features[24:]
	$(RUNNER) configs/head_only.toml --set data.root=$(SHARED)/pets --set phase.head.epochs=3 \
	  --set model.weights=$(SHARED)/weights/vgg16_imagenet_features.pth --set 'model.fresh=["classifier"]'
	$(RUNNER) configs/finetune.toml --set data.root=$(SHARED)/pets --set phase.features24.epochs=1
	$(RUNNER) compare latest:head_only latest:finetune

gpu-check:             ## run the golden tests on the first GPU
	RUNNER_TEST_DEVICE=cuda $(CARGO) test --release --features cuda-nvrtc --lib -- --nocapture --test-threads 1 train:: model::

FUZZ_HOST = $(shell rustc -vV | sed -n 's/host: //p')
# The flags of cargo-fuzz, without sanitizers, which stable Rust does not support.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 \
  inline-8bit-counters pc-table trace-compares)
fuzz:                  ## fuzz every file reader with libFuzzer for SECONDS=60 each; needs a C++ compiler
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --target $(FUZZ_HOST)
	cd fuzz && ulimit -v 3000000 && for target in $(notdir $(wildcard fuzz/corpus/*)); do \
	  mkdir -p target/corpus/$$target artifacts/$$target && target/$(FUZZ_HOST)/release/$$target \
	  -max_total_time=$(SECONDS) -max_len=32768 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	  -artifact_prefix=artifacts/$$target/ target/corpus/$$target corpus/$$target || exit 1; done

data/drawn-pets: | build
	rm -rf $@.part && $(RUNNER) sample-data $@.part --per-class 250 && mv $@.part $@

data/drawn-shapes: | build
	rm -rf $@.part && $(RUNNER) sample-data $@.part --task shapes --per-class 500 --no-broken && mv $@.part $@

assets: build data/drawn-shapes  ## retrain the embedded backbone (about twenty minutes)
	run=$$($(RUNNER) configs/assets/drawings_v1.toml) && rm -f assets/vgg16_slim_drawings_v1.safetensors \
	  && $(RUNNER) export $$run assets/vgg16_slim_drawings_v1.safetensors --only features

clean:                 ## delete build artifacts and drawings; runs are kept
	$(CARGO) clean
	rm -rf data/drawn-pets data/drawn-shapes
