# Every target works as the first command on a fresh clone: it makes .venv from the locks by itself.
PYTHON ?= python3
LOCK_FLAGS ?=
FUZZ_SECONDS ?= 600
KERNELS := 6.31 7.1 7.3 7.4
FRAMES := $(addprefix tests/pii/,test_findings.py test_frames.py test_planted.py)

BIN := .venv/bin
READY := .venv/.installed
INSTALL := requirements/install.py requirements/uv.txt pyproject.toml
COMPILE := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" $(LOCK_FLAGS)

IDP := tests/gateway/idp/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-all test-approvals test-browser test-compat test-cover test-drift test-faults test-fuzz test-gateway test-kernels test-mlflow test-pii test-redteam test-spark test-tamper test-worlds check lint bench docs fmt lock

help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## Tell the whole story in a terminal, on real data, in under two minutes
	@$(BIN)/nbgov demo

lab: $(READY) demo/nbgov.yaml ## Open the notebooks in JupyterLab, on the demo's warehouse
	NBGOV_CONFIG=$(CURDIR)/demo/nbgov.yaml $(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks

test: $(READY) ## Run the everyday suite: units, real engines, surfaces, notebooks
	$(BIN)/python -m pytest -q --nbval --nbval-sanitize-with notebooks/sanitize.cfg -p no:randomly notebooks
	$(BIN)/python -m pytest -q -m "not slow" --numprocesses=logical --maxprocesses=4 --dist=loadfile

test-all: $(READY) ## Run everything, the slow tests too
	$(BIN)/python -m pytest -q --nbval --nbval-sanitize-with notebooks/sanitize.cfg -p no:randomly notebooks
	$(BIN)/python -m pytest -q

test-browser: $(READY) tests/browser/node_modules/.package-lock.json ## Approve in JupyterLab in a real Chromium; pictures go to .cache/browser
	$(BIN)/python -m pytest -q -p no:randomly tests/browser

test-approvals: $(READY) ## Prove that approvals follow their model, and that each rule is needed in code and schema
	$(BIN)/python -m pytest -q -p no:randomly tests/core/test_approval.py tests/core/test_binding.py tests/backends/test_approval_store.py tests/backends/test_approval_schema.py tests/backends/test_approval_model.py tests/test_watched.py

test-compat: $(READY) .venv-compat/.installed ## Run surfaces and backends on the oldest and the newest pandas and SQLAlchemy
	.venv-compat/bin/python -m pytest -q tests/surfaces tests/backends $(FRAMES)
	$(BIN)/python -m pytest -q tests/surfaces tests/backends $(FRAMES)

test-spark: $(READY) .venv-spark/.installed ## Compare fingerprints and profiles on Spark, classic and Connect; needs Java 17
	.venv-spark/bin/python -m pytest -q -p no:randomly tests/drift/test_spark.py

test-cover: $(READY) ## Measure that the tests of core cover all of core, branches too
	$(BIN)/python -m pytest -q --cov --cov-report=term tests/core

test-mlflow: $(READY) ## Run the MLflow suite: a real server, PostgreSQL, trainings, the gate, the pages
	$(BIN)/python -m pytest -q -p no:randomly tests/mlflow tests/surfaces/test_mlflow.py

test-pii: $(READY) ## Prove that findings are stock Presidio's, on more than 50,000 values of every kind
	$(BIN)/python -m pytest -q -p no:randomly tests/pii tests/backends/test_detector_stress.py

test-drift: $(READY) ## Prove that every change of data is seen, its cause comes first, and no alarm is false
	$(BIN)/python -m pytest -q -p no:randomly tests/drift

test-faults: $(READY) ## Kill, cut the power, fill and hang the disk under the audit log, and count what is lost
	$(BIN)/python -m tests.faults

test-tamper: $(READY) ## Prove that every way to tamper with the audit log is found, and print by what
	$(BIN)/python -m pytest -q -p no:randomly tests/tamper

test-worlds: $(READY) ## Prove that no statement tells two worlds apart, 10,000 on each engine (NBGOV_WORLDS)
	$(BIN)/python -m pytest -q -p no:randomly -m slow tests/worlds/test_worlds.py

test-fuzz: $(READY) ## Look for texts that break the guard, for ten minutes (FUZZ_SECONDS=600)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

test-gateway: $(READY) $(IDP) ## Prove that other people's clients get what they would get directly, and that nobody gets in
	$(BIN)/python -m pytest -q -p no:randomly tests/gateway tests/core/test_wire.py tests/backends/test_gateway_store.py

test-redteam: $(READY) ## Attack a gateway under another account from a real kernel; needs root for the second account
	$(BIN)/python -m pytest -q -p no:randomly tests/redteam

test-kernels: $(READY) $(KERNELS:%=.venv-kernel-%/.installed) ## Drive the cards on four generations of the kernel, through the Jupyter protocol
	$(BIN)/python -m pytest -q --numprocesses=logical --maxprocesses=4 --dist=loadgroup tests/kernels

check: lint docs test ## Run all that has to pass before a change is submitted

lint: $(READY) ## Run the linters, the type checker and the import contracts
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/interrogate --quiet
	$(BIN)/cog --check docs/reference/cli.md docs/concepts/audit-content.md

bench: $(READY) ## Print ratios against peers and write benchmarks/results/latest.json
	$(BIN)/python -m benchmarks

docs: $(READY) ## Build the documentation and run its examples
	$(BIN)/sphinx-build -q -n -W --keep-going -b html docs docs/build/html
	$(BIN)/sphinx-build -q -n -W --keep-going -b doctest docs docs/build/doctest

fmt: $(READY) ## Format the code and regenerate the tables in the documentation
	$(BIN)/ruff check --quiet --fix-only
	$(BIN)/ruff format --quiet
	$(BIN)/cog -r docs/reference/cli.md docs/concepts/audit-content.md
	$(BIN)/nbgov schema catalog >docs/reference/schemas/catalog.schema.json
	$(BIN)/nbgov schema config >docs/reference/schemas/nbgov.schema.json
	$(BIN)/nbgov schema policy >docs/reference/schemas/policy.schema.json

lock: $(READY) ## Write the locks anew (LOCK_FLAGS=--upgrade takes newer versions)
	$(COMPILE) --all-extras --group build --group docs --group lint --group test \
		pyproject.toml -o requirements/lock.txt
	$(COMPILE) --all-extras --group build --group test --constraint requirements/compat.in \
		pyproject.toml -o requirements/compat.txt
	$(COMPILE) requirements/evidently.in -o requirements/evidently.txt
	$(COMPILE) --group build --group test --constraint requirements/lock.txt \
		pyproject.toml requirements/spark.in -o requirements/spark.txt
	for kernel in $(KERNELS); do $(COMPILE) --no-deps --no-annotate \
		requirements/kernel-$$kernel.in -o requirements/kernel-$$kernel.txt || exit 1; done
	printf 'setuptools\nuv\n' | $(COMPILE) --no-annotate - -o requirements/uv.txt

demo/nbgov.yaml: | $(READY)
	@$(BIN)/nbgov demo

# The stamp comes last, so an interrupted install leaves none and the next run starts over.
$(READY): requirements/lock.txt $(INSTALL)
	@$(PYTHON) requirements/install.py .venv $<
	@touch $@

.venv-compat/.installed: requirements/compat.txt $(INSTALL)
	@$(PYTHON) requirements/install.py .venv-compat $<
	@touch $@

.venv-spark/.installed: requirements/spark.txt $(INSTALL)
	@$(PYTHON) requirements/install.py .venv-spark $<
	@touch $@

# Evidently stands in an environment of its own: it does not import beside the newest pandas.
.venv-evidently/.installed: requirements/evidently.txt $(READY)
	@$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python .venv-evidently
	@$(BIN)/python -m uv pip sync --quiet --require-hashes --python .venv-evidently $<
	@touch $@

%/node_modules/.package-lock.json: %/package-lock.json
	@npm ci --prefix $* --silent --no-audit --no-fund
	@touch $@

# A kernel and what came with it, in front of all that .venv holds, the project itself included.
.venv-kernel-%/.installed: requirements/kernel-%.txt $(READY)
	@$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(@D)
	@$(BIN)/python -m uv pip install --quiet --require-hashes --no-deps --python $(@D) -r $<
	@$(BIN)/python -c 'import sys, sysconfig as s; print(f"import site; site.addsitedir({s.get_path(sys.argv[1])!r})")' \
		purelib >$$($(@D)/bin/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/project.pth
	@touch $@
