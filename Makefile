# make run: a working OpsDesk on this machine. make test: everything that needs no root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv when there is one, else the one that the environment gets by pip.
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
# uv reads no pip settings: hand on where pip finds its files.
FROM := $(addprefix --find-links=,$(PIP_FIND_LINKS)) \
	$(addprefix --index=,$(PIP_EXTRA_INDEX_URL)) $(addprefix --default-index=,$(PIP_INDEX_URL))
# Compiled now, or every start would compile again where Python may not write.
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python $(FROM)
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help install run test screenshots lint bge milvus bench bench-1m bench-parse evaluate lock clean

help:  ## What there is
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## The environment only

run: $(VENV)/.installed  ## Database, web server and workers; Ctrl-C stops all
	@exec $(BIN)/python manage.py serve

# Tests often wait for the processes they started: three workers keep two cores busy. What the first
# of those compiles the others need not.
test: $(VENV)/.installed-dev  ## Everything that needs no root
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests -n 3 --dist loadfile

screenshots: $(VENV)/.installed-dev  ## The pictures of the README; needs chromium
	OPSDESK_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/pages/screenshots.py

lint: $(VENV)/.installed-dev  ## Style, types, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python manage.py makemigrations --check --dry-run

bge: $(VENV)/.installed-bge  ## Add FlagEmbedding, the production encoder on this machine

milvus: $(VENV)/.installed-milvus  ## Add pymilvus, for OPSDESK_STORE=milvus

# In a database of its own, on the sentences of OPSDESK_DATA/sets or of the demo documents.
BENCH := OPSDESK_HOME=$${BENCH_HOME:-$(CURDIR)/var/bench} $(BIN)/python manage.py bench

bench: $(VENV)/.installed-dev  ## Search and ingest at 20,000 and 100,000 chunks, beside bm25s and faiss
	$(BENCH)

bench-1m: $(VENV)/.installed-dev  ## The same at 100,000 and 1,000,000: hours, 20 GB of memory
	$(BENCH) --sizes 100000 1000000

bench-parse: $(VENV)/.installed .venv-bench/.installed  ## What is read of OPSDESK_DATA/documents, beside other parsers
	$(BIN)/python manage.py bench_parse

evaluate: $(VENV)/.installed  ## How well the sets of OPSDESK_DATA/sets are found and answered
	$(BIN)/python manage.py evaluate $(dir $(wildcard $(OPSDESK_DATA)/sets/*/set.json)) --answers --markdown

lock: $(BIN)/python  ## Compile the pinned requirements with their hashes
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) requirements-bench.in -o requirements-bench.txt

clean:  ## Remove the environment, not the data
	rm -rf $(VENV) .venv-bench

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OpsDesk needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; fi

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(INSTALL) -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-bge: requirements-bge.txt $(VENV)/.installed
	$(INSTALL) -r requirements-bge.txt -c requirements.txt
	@touch $@

$(VENV)/.installed-milvus: requirements-milvus.txt $(VENV)/.installed
	$(INSTALL) -r requirements-milvus.txt -c requirements.txt
	@touch $@

.venv-bench/.installed: requirements-bench.txt | $(BIN)/python
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-bench
	$(UV) pip install --quiet --compile-bytecode --python .venv-bench/bin/python $(FROM) -r $<
	@touch $@
