# The developer interface. `make demo` is the main job from nothing; `make test` is everything that must hold.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python keeps its bytecode even where the environment forbids it. pip compiles nothing (of 20,000 modules few are
# used), so every process that imports PyTorch and the converter would compile them anew, for ten seconds each.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

.PHONY: docs demo phone test exhaustive tflite-runtime plugin executorch check bench models evidence decide clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.workshop: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e ".[export,simulate]"
	touch $@

$(VENV)/.phone: $(VENV)/.workshop
	$(INSTALL) -e ".[export,simulate,phone,ncnn]"
	touch $@

# all extras at once: pip would resolve the same names twice
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e ".[export,simulate,datasets,energy,phone,dev]"
	touch $(VENV)/.workshop $(VENV)/.phone $@

demo: $(VENV)/.workshop    ## export the bundled networks, run them here, fuse two of them, write reports/demo/
	$(BIN)/swapbench run --name demo --replace || [ $$? -eq 3 ]  # 3: measured, with doubts that the report lists
	$(BIN)/swapbench system fuse minifasnet_v2.distill.int8.tflite mobilefacenet.uniform-40M.int8.tflite \
		--weights search --name pair --run reports/demo || [ $$? -eq 3 ]

phone: $(VENV)/.phone    ## the main job on an emulated x86-64 phone, where there is no real one; writes reports/phone/
	@command -v adb >/dev/null || { echo "make phone needs adb: sudo apt install adb" >&2; exit 4; }
	$(BIN)/python tests/phone/fetch.py
	$(BIN)/python tests/phone/demo.py

test: $(VENV)/.dev    ## the whole suite, a process more than cores; files that export and train come first
	-$(BIN)/python tests/phone/fetch.py  # without the programs of emulated phones their tests are skipped
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not hardware and not exhaustive"

exhaustive: $(VENV)/.dev    ## what the suite claims, for every further network, seed and kill; before a release
	$(BIN)/python -m pytest -n auto --dist loadfile -m "exhaustive and not hardware"

# An environment that is lent our package and what it needs: installing them again would take minutes. The file
# .installed tells the tests, which `make test` may collect at the same time, that all is there.
LENT = 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))'
LIBRARIES = 'import sysconfig; print(sysconfig.get_path("purelib"))'
define lent
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(BIN)/python -c $(LENT) > $$($(1)/bin/python -c $(LIBRARIES))/lent.pth
endef

FROZEN := build/tflite-runtime

tflite-runtime: $(VENV)/.dev    ## one file under the real tflite-runtime, in a Python environment of its own
	test -x $(FROZEN)/bin/python || $(PYTHON) -m venv $(FROZEN)
	$(FROZEN)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		'numpy<2' 'tflite-runtime>=2.14,<3'  # as the extra of that name, and nothing of swapbench
	touch $(FROZEN)/.installed
	$(BIN)/python -m pytest -p no:randomly -p no:cacheprovider tests/test_tflite_runtime.py

PLUGIN := build/plugin

plugin: $(VENV)/.dev    ## a runtime in a package of its own, installed and run for real
	$(call lent,$(PLUGIN))
	$(PLUGIN)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps \
		'openvino>=2026.1,<2027' tests/plugin_openvino
	touch $(PLUGIN)/.installed
	$(BIN)/python -m pytest -p no:randomly -p no:cacheprovider tests/test_plugin_openvino.py

EXECUTORCH := build/executorch

executorch: $(VENV)/.dev    ## the extra executorch, in an environment of its own, exported to and run for real
	$(call lent,$(EXECUTORCH))
	$(EXECUTORCH)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt \
		-e ".[executorch]"
	$(EXECUTORCH)/bin/python -m pytest -p no:randomly -p no:cacheprovider tests/test_executorch.py
	$(EXECUTORCH)/bin/python -m pytest -p no:randomly -p no:cacheprovider \
		tests/test_nets_export.py tests/test_nothing_leaves.py -k executorch -m "not exhaustive"

check: $(VENV)/.dev    ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) -e ".[docs]"
	touch $@

docs: $(VENV)/.docs    ## the documentation site, in build/site; a broken link fails
	$(BIN)/python tests/site_pages.py build/site-source
	cp docs/conf.py docs/site.css build/site-source
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env build/site-source build/site

GATES ?= 30

bench: $(VENV)/.phone    ## what our own measuring and training cost, as ratios; is the gate right here (GATES=8 for a short look)
	$(BIN)/swapbench export minifasnet_v2 --precision fp32 --precision int8 --out build/bench
	$(BIN)/swapbench export minifasnet_v2 --format ncnn --precision fp32 --out build/bench
	@if $(BIN)/python -c "import executorch" 2>/dev/null; then $(BIN)/swapbench export minifasnet_v2 --format executorch --precision fp32 --out build/bench; fi
	$(BIN)/python benchmarks/overhead.py build/bench/minifasnet_v2.fp32.onnx build/bench/minifasnet_v2.fp32.tflite build/bench/minifasnet_v2.fp32.ncnn.param $$(ls build/bench/minifasnet_v2.fp32.pte 2>/dev/null)
	$(BIN)/python benchmarks/scoring.py build/bench/minifasnet_v2.fp32.onnx
	$(BIN)/python benchmarks/runner.py build/bench/minifasnet_v2.fp32.onnx build/bench/minifasnet_v2.int8.onnx build/bench/minifasnet_v2.fp32.tflite build/bench/minifasnet_v2.int8.tflite
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/systems.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/change_points.py --series 500 --steps 10
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/gate_selftest.py build/bench/minifasnet_v2.fp32.onnx --gates $(GATES)

models: $(VENV)/.workshop    ## train the bundled checkpoints again (hours on a small machine); goes on where it was cut
	$(BIN)/swapbench train resnet18_map --missing
	$(BIN)/swapbench train minifasnet_v2 --schedule small --seed 1 --missing
	$(BIN)/swapbench train minifasnet_v2 --recipe distill --schedule small --seed 1 --missing
	$(BIN)/swapbench train mobilefacenet --recipe uniform --macs 40M --schedule small --seed 1 --missing

evidence: $(VENV)/.workshop    ## train and measure what reports/compression tells of (hours; SCHEDULE=full for a GPU); goes on where it was cut
	$(BIN)/swapbench train benchmarks/compression/students.toml --schedule $(or $(SCHEDULE),small) --out build/compression/students
	$(BIN)/swapbench train benchmarks/compression/unseen.toml --schedule $(or $(SCHEDULE),smallest) --out build/compression/unseen
	$(BIN)/python -m benchmarks.compression rank
	$(BIN)/swapbench train build/compression/rank.toml --schedule $(or $(SCHEDULE),smallest) --out build/compression/rank
	$(BIN)/python -m benchmarks.compression measure --missing
	$(BIN)/python -m benchmarks.compression report

decide: $(VENV)/.dev    ## the studies on world 2, as far as MINUTES go (60); results are kept in reports/compression/evidence
	$(BIN)/python -m benchmarks.decide go --minutes $(or $(MINUTES),60) --jobs $(or $(JOBS),1)
	$(BIN)/python -m benchmarks.decide table

clean:    ## everything that can be made again, except the virtual environment and simulated data
	rm -rf build dist reports/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
