# Everything installs into .venv/ of this checkout. PYTHON chooses the interpreter: 3.11 to 3.14.
PYTHON ?= python3
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test sweep e2e lint types secrets audit bench soak scale lock clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## Set up .venv, which the other commands do by themselves

demo: $(STAMP) ## Run every task and the queue for a made-up blog; POSTS=some.csv takes real posts
	@.venv/bin/nightshift demo $(if $(POSTS),--posts "$(POSTS)")

test: $(STAMP) ## Run the tests
	@.venv/bin/pytest -n auto --dist worksteal -q --ignore=tests/e2e

sweep: $(STAMP) ## Run them, and try all that they otherwise try a part of: every zone, every kill, each server, more stories
	@SWEEP=1 .venv/bin/pytest -n auto --dist worksteal -q --ignore=tests/e2e

e2e: $(STAMP) ## Deploy into an emulator that runs the packaged code, and use all of it as people do
	@.venv/bin/pytest -q tests/e2e

bench: $(STAMP) ## Measure all in one run, and write docs/speed.md, docs/bench.json and what is reckoned from them
	@.venv/bin/python -m bench --write docs
	@.venv/bin/python -m scale --write >/dev/null
	@.venv/bin/python -m docs.pictures.scale

scale: $(STAMP) ## Simulate a million users and reckon what they cost, and write docs/scale.md's tables anew
	@.venv/bin/python -m scale --write

MINUTES ?= 10

soak: $(STAMP) ## Live up to a year in MINUTES=10 a server with all failing that may fail, and check every promise
	@.venv/bin/python -m soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(SERVER),--server $(SERVER)) --write docs

CHECK_SCHEMA := .venv/bin/check-jsonschema -q --builtin-schema vendor

lint: $(STAMP) ## Check the style of the code, the templates of CloudFormation and the workflows
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/cfn-lint infra/*.yaml
	@$(CHECK_SCHEMA).github-workflows .github/workflows/*.yml && $(CHECK_SCHEMA).dependabot .github/dependabot.yml
	@$(CHECK_SCHEMA).github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	@.venv/bin/zizmor -q --offline --persona pedantic .github
	@# Its package for Python downloads a program when it is installed, so it is not among the pinned ones.
	@if command -v actionlint >/dev/null; then actionlint; fi

types: $(STAMP) ## Check the types
	@.venv/bin/mypy

secrets: $(STAMP) ## Look for keys and passwords in every file
	@mkdir -p build && cp .secrets.baseline build/ # it is rewritten, with code 3, when a known finding changes its line
	@.venv/bin/detect-secrets-hook --baseline build/.secrets.baseline --no-verify $$(git ls-files) || [ $$? -eq 3 ]

audit: $(STAMP) ## Ask the database of advisories about what ships
	@.venv/bin/python -m pip install -q pip-audit==2.10.1
	@.venv/bin/pip-audit -r requirements.txt --no-deps --disable-pip

COMPILE := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header

lock: $(STAMP) ## Write requirements.txt and requirements-dev.lock anew, pinned with hashes
	@.venv/bin/python -m pip install -q uv==0.13.9
	@$(COMPILE) requirements.in -o requirements.txt
	@$(COMPILE) --group dev requirements.in -c requirements.txt -o requirements-dev.lock

clean: ## Remove what these commands made
	@rm -rf .venv .venv-emulator .venv-clients .venv-shop .venv-bench .nightshift .chalice/deployments build

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else \
		"Nightshift needs Python 3.11 to 3.14, not %d.%d: make PYTHON=python3.13 ..." % v)'
	@echo "Setting up .venv (about half a minute, once) ..."
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $(STAMP)
