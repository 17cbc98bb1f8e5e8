# Every target sets up .venv by itself; a second call finds it there and starts at once.
PY := .venv/bin/python
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-all check types fast-tests install audit lock lock-unsloth
.PHONY: bench bench-demo bench-step bench-verify bench-rollout bench-scale bench-time-to-accuracy bench-gpu
.PHONY: bench-memory bench-four-billion bench-advise bench-soak math-verify

demo: install
	@$(PY) -m razona demo

test: install
	@$(PY) -m pytest -q -m "not long"

# Some of these take many minutes each.
test-all: install
	@$(PY) -m pytest -q

check: install
	@$(PY) -m ruff format --check . && $(PY) -m ruff check .
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types fast-tests

types: install
	@$(PY) -m pyright

fast-tests: install
	@$(PY) -m pytest -q -m "not slow and not long and not gpu and not network"

# All but bench-gpu. `make -k bench` goes on after a benchmark that missed an aim.
bench: bench-verify bench-step bench-rollout bench-scale bench-time-to-accuracy bench-demo

bench-demo: install
	@$(PY) benchmarks/demo.py

bench-step: install
	@$(PY) benchmarks/step.py

bench-rollout: install
	@$(PY) benchmarks/rollout.py

# TRL's fastest setting is read from what bench-step wrote; so in the next one.
bench-scale: install
	@$(PY) benchmarks/scale.py

bench-time-to-accuracy: install
	@$(PY) benchmarks/time_to_accuracy.py

bench-gpu: install
	@$(PY) benchmarks/gpu.py

# The estimate of a run's memory against what it takes. Not in `bench`: it compares us with no one.
bench-memory: install
	@$(PY) benchmarks/memory.py

# What `razona advise` foretells against what training finds. Not in `bench`: it takes more than an hour.
bench-advise: install
	@$(PY) benchmarks/advise.py

# Not in `bench`: it needs 21 GiB of free memory, 10 GB of disk and some minutes.
bench-four-billion: install
	@$(PY) benchmarks/four_billion.py

# Not in `bench`: 2,000 steps, about half an hour. It compares us with no one.
bench-soak: install math-verify
	@$(PY) benchmarks/soak.py

bench-verify: install math-verify
	@$(PY) benchmarks/verify.py

# What verdicts are compared with, and what the extra `math` installs for formulas that our own reader leaves to it.
math-verify: install
	@$(PY) -m pip install -q "math-verify==0.9.0" "latex2sympy2_extended==1.11.0"

install:
	@scripts/install.sh

# Needs the network. Ends with 2 where not every package could be looked up.
audit: install
	@$(PY) scripts/audit.py

lock: install
	@$(PY) scripts/lock.py

lock-unsloth: install
	@$(PY) scripts/lock.py --unsloth
