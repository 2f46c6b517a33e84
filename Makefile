# Each target sets up what it needs; a second call installs nothing again.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

BIN := .venv/bin
ENVIRONMENT := .venv/made-in
JAVASCRIPT := node_modules/.package-lock.json
FIGURES := docs/assets/figures/positional-encodings-light.svg

.PHONY: help site serve test lint fuzz bench schema clean

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 10

site: $(ENVIRONMENT) $(FIGURES) ## Read, check and verify everything, and build the site in site/
	$(BIN)/quaere build

serve: $(ENVIRONMENT) $(FIGURES) ## Serve the site with live reload on a free port, and print its address
	$(BIN)/quaere serve

# The answers are not run twice: `quaere build` has run those that are not known to hold, and fails if one is broken.
# Types are checked beside it, on the other core.
test: $(ENVIRONMENT) $(JAVASCRIPT) $(FIGURES) ## Lint, check types, run the answers, build the site, and test all of it, the site in a browser
	@$(MAKE) --no-print-directory lint & linted=$$!; $(BIN)/quaere build; built=$$?; wait $$linted && exit $$built
	tools/graphics
	browser=$$(tools/browser) && QUAERE_CHROMIUM=$$browser $(BIN)/python -m pytest tests

lint: $(ENVIRONMENT) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(ENVIRONMENT) ## Try 100,000 hostile inputs, in a quarter of an hour; SEED=n repeats a run
	@seed=$${SEED:-$$RANDOM}; echo "to repeat this run: make fuzz SEED=$$seed"; \
	QUAERE_FUZZ=10000 $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$$seed

bench: $(ENVIRONMENT) ## Measure the implementations beside their peers; at most a quarter of an hour
	$(BIN)/python -m benchmarks

schema: $(ENVIRONMENT) ## Write the JSON Schema of a card, docs/schema/card.json
	$(BIN)/python -m quaere.content.model > docs/schema/card.json

clean: ## Remove what was built: the site, the evidence and the caches (not .venv and node_modules)
	rm -rf site .quaere docs/assets/figures/*.svg .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The package carries what the pages need of JavaScript (hatch_build.py).
$(ENVIRONMENT): pyproject.toml constraints.txt hatch_build.py package-lock.json tools/environment
	tools/environment

$(JAVASCRIPT): package.json package-lock.json tools/javascript | $(ENVIRONMENT)
	tools/javascript

# Each figure is drawn for light and for dark pages; the script writes both files.
$(FIGURES): docs/assets/figures/positional_encodings.py reference_impl/layers/positions.py | $(ENVIRONMENT)
	PYTHONPATH=. $(BIN)/python $<

# The programs in .venv/bin name the folder they were made in, so a folder that was moved gets a new environment.
ifneq ($(shell cat $(ENVIRONMENT) 2>/dev/null),$(CURDIR))
.PHONY: $(ENVIRONMENT)
endif
