# A virtual environment is made where none is; PYTHON names the interpreter it is made of.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
FUZZ_READY := $(VENV)/.fuzz-ready
SOURCES := $(wildcard scaler/_core/*.pyx scaler/_core/*.pxd scaler/wire/*.pyx scaler/storage/*.pyx) setup.py pyproject.toml

.PHONY: run test check sim chaos fuzz bench bench-core profile docs pictures package clean

run: $(READY)  ## real work on a local cluster
	$(BIN)/scaler demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

check: $(READY)  ## lint, types, import rule, layout, schema comments
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml $(addprefix scaler._core.,$(filter-out columns,$(basename $(notdir $(wildcard scaler/_core/*.pyx))))) scaler.wire.segment scaler.wire.frame_reader scaler.storage.mapping scaler.storage.lent_bytes
	$(BIN)/lint-imports
	$(BIN)/python .ci/checks.py

sim: $(READY)  ## the simulator over many seeds: make sim SEEDS=10000 FIRST=5000; or go on with a dump: make sim LOAD=FILE
	$(BIN)/python -m tests.sim $(if $(LOAD),--load $(LOAD),$(or $(FIRST),0) --seeds $(or $(SEEDS),1000))

chaos: $(READY)  ## real processes that are killed, stopped and cut off: make chaos SECONDS=600
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),30) $(SCENARIOS)

fuzz: $(FUZZ_READY)  ## nonsense, attacks, damaged journals, inputs led by what they reach, with sanitizers: make fuzz MESSAGES=1000000 SECONDS=600
	$(BIN)/python -m tests.fuzz --messages $(or $(MESSAGES),100000)
	$(BIN)/python -m tests.wire.test_handshake_attacks $(or $(MESSAGES),100000)
	$(BIN)/python -m tests.scheduler.damage $(or $(JOURNALS),10000)
	$(BIN)/python -m tests.fuzz.guided --seconds $(or $(SECONDS),30)

bench: $(BENCH_READY)  ## Scaler next to its peers, into docs/benchmarks.md; make bench BENCH="--only submit" only prints
	$(BIN)/python -m benchmarks $(or $(BENCH),--json docs/benchmarks.json --write docs/benchmarks.md)

bench-core: $(READY)  ## micro-benchmarks of scaler/_core and of the codec
	$(BIN)/python benchmarks/core_containers.py
	$(BIN)/python benchmarks/core_placement.py
	$(BIN)/python benchmarks/wire_codec.py
	$(BIN)/python benchmarks/graph_analysis.py
	$(BIN)/python benchmarks/graph_order.py

profile: $(BENCH_READY)  ## flame graphs of client, scheduler, worker and executor under load, in build/profiles
	$(BIN)/python -m benchmarks.profiling

docs: $(READY)  ## the documentation as a site, in build/docs/html; bad links and examples that do not run fail it
	$(BIN)/python -m docs.generator
	$(BIN)/python -m pytest tests/test_documentation.py

pictures: $(READY)  ## pictures for the documentation: scaler_top from a recorded feed, the dashboard by chromium
	$(BIN)/python -m tests.tui.pictures
	$(BIN)/python -m tests.web.pictures

package: $(READY)  ## what can be published, in dist: the sdist, and a wheel made of it that is installed and tried
	rm -rf dist build/installed
	$(BIN)/python -m build
	PATH="$(abspath $(BIN)):$$PATH" auditwheel repair --strip --wheel-dir dist dist/*-linux_*.whl
	rm dist/*-linux_*.whl
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTHON) -m venv build/installed
	build/installed/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	build/installed/bin/python tests/installed.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f scaler/_core/*.so scaler/_core/*.c scaler/wire/*.so scaler/wire/*.c scaler/storage/*.so scaler/storage/*.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(SOURCES)
	@command -v cc >/dev/null || { echo "Scaler needs a C compiler: apt-get install gcc, dnf install gcc, or xcode-select --install"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(FUZZ_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@
