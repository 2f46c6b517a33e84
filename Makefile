# Each target sets up what it needs; a second call installs nothing again.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

BIN := .venv/bin
SITE := .venv/made-in
TESTS := .venv/made-for-tests
JAVASCRIPT := node_modules/.package-lock.json
FIGURES := docs/assets/figures/positional-encodings-light.svg

.PHONY: help site serve dev test test-all lint fuzz bench schema clean

help: ## List the targets
	@sed -nE 's/^([a-z][a-z -]*):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

site: $(SITE) $(FIGURES) ## Read, check and verify everything, and build the site in site/
	$(BIN)/quaere build

serve: $(SITE) $(FIGURES) ## Serve the site with live reload on a free port, and print its address
	$(BIN)/quaere serve

dev: $(TESTS) ## Install what tests, experiments and hooks need besides

# The answers are not run twice: `quaere build` has run those that are not known to hold, and fails if one is broken.
# Types are checked beside it, on the other core. Then three workers share the tests, which wait half of the time.
test: PICKED := -m 'not slow'
test test-all: $(TESTS) $(JAVASCRIPT) $(FIGURES) ## Lint, check types, run the answers, build the site, and test all of it, the site in a browser
	@$(MAKE) --no-print-directory lint & linted=$$!; $(BIN)/quaere build; built=$$?; wait $$linted && exit $$built
	tools/graphics
	browser=$$(tools/browser) && QUAERE_CHROMIUM=$$browser $(BIN)/python -m pytest tests $(PICKED) \
	  --numprocesses 3 --no-loadscope-reorder

lint: $(TESTS) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(TESTS) ## Try 100,000 hostile inputs, in a quarter of an hour; SEED=n repeats a run
	@seed=$${SEED:-$$RANDOM}; echo "to repeat this run: make fuzz SEED=$$seed"; \
	QUAERE_FUZZ=10000 $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$$seed

bench: $(TESTS) ## Measure the implementations beside their peers; at most a quarter of an hour
	$(BIN)/python -m benchmarks

schema: $(SITE) ## Write the JSON Schema of a card, docs/schema/card.json
	$(BIN)/python -m quaere.content.model > docs/schema/card.json

clean: ## Remove what was built: the site, the evidence and the caches (not .venv and node_modules)
	rm -rf site .quaere docs/assets/figures/*.svg .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The package carries what the pages need of JavaScript (hatch_build.py).
$(SITE): pyproject.toml constraints.txt requirements/site.txt hatch_build.py package-lock.json tools/environment
	tools/environment site

$(TESTS): requirements/test.txt $(SITE)
	tools/environment test

$(JAVASCRIPT): package.json package-lock.json tools/javascript | $(TESTS)
	tools/javascript

# Each figure is drawn for light and for dark pages; the script writes both files.
$(FIGURES): docs/assets/figures/positional_encodings.py reference_impl/layers/positions.py | $(SITE)
	PYTHONPATH=. $(BIN)/python $<

# The programs in .venv/bin name the folder they were made in, so a folder that was moved gets a new environment.
ifneq ($(shell cat $(SITE) 2>/dev/null),$(CURDIR))
.PHONY: $(SITE)
endif
