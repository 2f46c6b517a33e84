# Each target sets up what it needs; a second call installs nothing again.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
# What a process has compiled, the next ones read: to compile torch takes each of them longer than all that it does there.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
SITE := .venv/made-in
TESTS := .venv/made-for-tests
JAVASCRIPT := node_modules/.package-lock.json
LIGHTHOUSE := benchmarks/node_modules/.package-lock.json
FIGURES := docs/assets/figures/positional-encodings-light.svg

.PHONY: help site serve dev test test-all lint mutants mutants-drawn fuzz bench schema clean

help: ## List the targets
	@sed -nE 's/^([a-z][a-z -]*):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

site: $(SITE) $(FIGURES) ## Build the site in site/; run new or changed answers
	$(BIN)/quaere build

serve: $(SITE) $(FIGURES) ## Serve the site locally with live reload
	$(BIN)/quaere serve

dev: $(TESTS) ## Install the development dependencies

# The answers are not run twice: `quaere build` has run those that are not known to hold, and fails if one is broken.
# Types are checked beside it, on the other core. Then four workers share the tests, which wait half of the time.
test: PICKED := -m 'not slow'
test test-all: $(TESTS) $(JAVASCRIPT) $(FIGURES) ## Run lint, type checks, answers and all tests; test-all adds the slow tests
	@$(MAKE) --no-print-directory lint & linted=$$!; $(BIN)/quaere build; built=$$?; wait $$linted && exit $$built
	tools/graphics
	browser=$$(tools/browser chromium-headless-shell) && QUAERE_CHROMIUM=$$browser $(BIN)/python -m pytest tests $(PICKED) \
	  --numprocesses 4 --no-loadscope-reorder

lint: $(TESTS) ## Run ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

mutants: $(TESTS) ## Check that each mutation in tests/mutations makes its tests fail; SLUG=vit: one card
	$(BIN)/python -m tools.mutants $(SLUG)

mutants-drawn: $(TESTS) ## Draw N (200) random mutants and list those that no test catches; SEED=n repeats a draw
	$(BIN)/python -m tools.drawn --count $(or $(N),200) --seed $(or $(SEED),0)

fuzz: $(TESTS) ## Run the fuzz tests (15 minutes); SEED=n repeats a run
	@seed=$${SEED:-$$RANDOM}; echo "to repeat this run: make fuzz SEED=$$seed"; \
	QUAERE_FUZZ=10000 $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$$seed

bench: $(TESTS) $(LIGHTHOUSE) $(FIGURES) ## Run the benchmarks: of the code (15 minutes), then of the site (15 minutes)
	$(BIN)/python -m benchmarks
	browser=$$(tools/browser) && QUAERE_CHROMIUM=$$browser $(BIN)/python -m benchmarks.site

schema: $(SITE) ## Generate docs/schema, the JSON Schemas, and docs/guide/verbs, the pages of the commands
	$(BIN)/python -m quaere.content.model > docs/schema/card.json
	$(BIN)/python -m quaere.pages.dump > docs/schema/library.json
	$(BIN)/python -m tools.verbs

clean: ## Delete generated files and caches; keep .venv and node_modules
	rm -rf site .quaere docs/assets/figures/*.svg .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The package carries what the pages need of JavaScript (hatch_build.py).
$(SITE): pyproject.toml constraints.txt requirements/site.txt hatch_build.py package-lock.json tools/environment
	tools/environment site

$(TESTS): requirements/test.txt $(SITE)
	tools/environment test

$(JAVASCRIPT): package.json package-lock.json tools/javascript | $(TESTS)
	tools/javascript

$(LIGHTHOUSE): benchmarks/package.json benchmarks/package-lock.json tools/javascript | $(TESTS)
	tools/javascript benchmarks

# Each figure is drawn for light and for dark pages; the script writes both files.
$(FIGURES): docs/assets/figures/positional_encodings.py reference_impl/layers/positions.py | $(SITE)
	PYTHONPATH=. $(BIN)/python $<

# The programs in .venv/bin name the folder they were made in, so a folder that was moved gets a new environment.
ifneq ($(shell cat $(SITE) 2>/dev/null),$(CURDIR))
.PHONY: $(SITE)
endif
