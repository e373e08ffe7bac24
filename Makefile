# Mbashara: `make run` and `make test` are all that a fresh machine needs; both set up what they use.
PYTHON ?= $(shell python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo python3 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
STAMP := .make
NATIVE := core/native/sha256.so
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test bytecode check format lint types unit bench clean requirements

run: $(STAMP)/run bytecode $(STAMP)/web $(NATIVE) ## Sets up, starts everything with a demo feed, prints the addresses. Ctrl-C ends it.
	$(BIN)/mbashara up --demo

test: $(STAMP)/test bytecode $(STAMP)/web $(STAMP)/system $(NATIVE) ## Sets up, checks format, lint and types, runs every test.
	@nice -n 19 $(MAKE) --no-print-directory check >$(STAMP)/check.out 2>&1 & check=$$!; \
	nice -n 19 $(BIN)/python -m pytest --lane unit >$(STAMP)/unit.out 2>&1 & unit=$$!; \
	nice -n 19 $(BIN)/python -m pytest --lane beside >$(STAMP)/beside.out 2>&1 & beside=$$!; \
	$(BIN)/python -m pytest --lane screens >$(STAMP)/screens.out 2>&1 & screens=$$!; \
	$(BIN)/python -m pytest --lane rest; failed=$$?; \
	for one in $$check $$unit $$screens $$beside; do wait $$one || failed=1; done; \
	cat $(STAMP)/check.out $(STAMP)/unit.out $(STAMP)/screens.out $(STAMP)/beside.out; exit $$failed

bytecode: $(STAMP)/run ## Processes that step down from root can't keep it: each start would take up to 0.7 s more.
	@$(BIN)/python -m compileall -q archive core ingest mbashara player portal telco transcode

check: $(STAMP)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy .

format: $(STAMP)/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP)/test
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)/test
	$(BIN)/mypy .

unit: $(STAMP)/test $(STAMP)/web $(NATIVE) ## The quick tests alone.
	$(BIN)/python -m pytest tests/unit

bench: $(STAMP)/test $(STAMP)/web $(STAMP)/system $(NATIVE) ## Figures beside nginx-rtmp, in one run.
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) $(STAMP) $(NATIVE) node_modules core/web/static

requirements: ## Pins anew, after a change of requirements*.in. Needs uv.
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links requirements.in -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links requirements-test.in -o requirements-test.txt

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Mbashara needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(STAMP)/run: $(VENV)/bin/python requirements.txt pyproject.toml
	@echo "Setting up: some minutes, once."
	$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/test: $(STAMP)/run requirements-test.txt
	$(BIN)/python -m pip install -q --require-hashes -r requirements-test.txt
	@touch $@

$(STAMP)/web: package-lock.json core/web/build.mjs $(shell find player/shell player/engine player/styles core/web/styles core/web/scripts ingest/console/styles ingest/console/scripts archive/styles archive/scripts archive/*/scripts -type f)
	npm ci --ignore-scripts --no-audit --no-fund
	npm run build
	@mkdir -p $(STAMP) && touch $@

$(NATIVE): core/native/sha256.c ## Without a C compiler all works, and checks of the archive take a fifth longer.
	@$(CC) -O2 -std=gnu11 -Wall -Wextra -shared -fPIC -o $@.new $< && mv $@.new $@ \
		|| echo "No C compiler: SHA-256 is left to Python, which is slower."

$(STAMP)/system: docker/install-test-packages
	sh docker/install-test-packages
	@mkdir -p $(STAMP) && touch $@
