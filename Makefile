# make run      a virtual environment, the server in it, its database in ./data
# make test     the same environment with what tests need, and all tests that the machine allows; EVERYTHING=1: all
# make quick    the tests that need only Python, in a few minutes
# make test-postgres   run all tests of the API in memory on PostgreSQL; make test runs a part of them there
# make check    what a change must pass: linters, types, site, audit, all tests, half of the quick ones on other Pythons here
# make docs     build the documentation as a site, in build/site; a broken link, or a page that is nowhere in its menu, fails
# make audit    look for known vulnerabilities in what *.lock pins; says if the service can't be reached
# make torture  kills, power cuts, full disks and more, for MINUTES where the tests take seconds, against a plain model
# make fuzz     run a fuzzer (atheris) on each parser of bytes, or on TARGET, for MINUTES each
# make mutants  remove one safety at a time (or NAMES), and print which test fails then: one must
# make pictures draw each page of the dashboard in each state, in build/pictures, and renew docs/images
# make image    build the Docker image from its base image by digest, and note the digest in a label
# make news     move the fragments of newsfragments into NEWS.md, under the version in jobengine/__init__.py
# make release  build wheel, sdist and image, try them as a user would, and print checksums; QUICK=1: without the image
# make bench    measure it beside other servers that are installed; write all figures: benchmarks/figures.md
#
# PYTHON=python3.13 makes them use that Python, in a virtual environment of its own.

PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),venv,venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := setup.py pyproject.toml api_schema.yml $(shell find jobengine twisted -name '*.py') $(wildcard jobengine/web/dashboard/*)
NOT_QUICK := --ignore=tests/integration --ignore=tests/machine -m 'not slow'
# What they try depends on no version of Python, or is tried by the others as well.
SAME_ON_ALL := $(addprefix --ignore=tests/,contract engine mutants torture web \
	$(patsubst %,test_%.py,architecture audit benchmarks machine_allows news reference_cycles wording))
# They sync thousands of small files; in memory no disk holds them up. A container may have only 64 MiB there.
IN_MEMORY := $(shell [ "$$(df -k --output=avail /dev/shm 2>&- | tail -n 1)" -ge 1000000 ] 2>&- && \
	echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
# Tests in a file share what is costly to start, so they stay together.
# In their own order the quick files come last, so that all processes end at about the same time.
BY_FILE := --dist loadfile --no-loadscope-reorder
# A command may exist but not start: only those that run count.
PYTHONS = $(shell for minor in 11 12 13 14 15 16 17 18 19; do python3.$$minor -c '' 2>&- && echo python3.$$minor; done)
OTHER_PYTHONS = $(filter-out $(shell $(PYTHON) -c 'import sys; print("python3.%d" % sys.version_info[1])'),$(PYTHONS))

# What rules, time and waiting make of a request: the rest of tests/web is about requests, which know no engine.
ON_POSTGRES := $(patsubst %,tests/web/test_%.py,finish_and_claim groups leases long_polls metrics workers)

# What the Dockerfile builds on, and where it comes from.
BASE := $(shell sed -n 's/^FROM \(\S*\).*/\1/p;T;q' Dockerfile)
BASE_REGISTRY ?= docker.io/library
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' jobengine/__init__.py 2>&-)

.PHONY: image news release run programs test test-postgres quick quick-on-others lint docs audit check torture fuzz mutants pictures
.PHONY: bench clean
# Missing programs are installed first, before anything that takes time.
ifndef TOGETHER
.NOTPARALLEL:
endif

run: $(VENV)/installed
	DB_PATH=$${DB_PATH:-data/jobengine.jedb} exec $(BIN)/jobengine serve

programs:
	@sh get-from-debian.sh $(PYTHON) tests/debian-packages.txt

# One process more than cores: many of these tests wait. The longer run comes last: it ends with a list of what the
# machine does not allow.
test: programs $(VENV)/installed-test
	@echo "All tests, on $$($(BIN)/python --version)"
	$(IN_MEMORY) $(BIN)/python -m pytest --engine=postgres -n $$(nproc) $(BY_FILE) $(ON_POSTGRES)
	$(BIN)/python -m pytest -n $$(expr $$(nproc) + 1) $(BY_FILE) $(PYTEST_ARGS)

test-postgres: programs $(VENV)/installed-test
	$(IN_MEMORY) $(BIN)/python -m pytest -rs --engine=postgres -n $$(expr $$(nproc) + 1) $(BY_FILE) tests/web

quick: $(VENV)/installed-test
	@echo "Quick tests, on $$($(BIN)/python --version)"
	$(IN_MEMORY) $(BIN)/python -m pytest -n $$(nproc) $(BY_FILE) $(NOT_QUICK) $(PYTEST_ARGS)

audit: $(VENV)/installed-lint
	@$(BIN)/python -m tests.audit

quick-on-others:
	@echo "Other Pythons that are installed: $(or $(OTHER_PYTHONS),none)"
	@for python in $(OTHER_PYTHONS); do \
		$(MAKE) --no-print-directory quick PYTHON=$$python PYTEST_ARGS="$(SAME_ON_ALL)" || exit; done

lint: $(VENV)/installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.wording

# The line about the theme's next version is no concern of this one.
docs: $(VENV)/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "The site begins at build/site/index.html"

# On other Pythons pip takes most of the time, in one process: linters have the other core. The tests build the site.
check: programs $(VENV)/installed-lint
	@$(MAKE) --no-print-directory TOGETHER=1 --jobs=2 --output-sync quick-on-others lint audit
	@$(MAKE) --no-print-directory test

torture: $(VENV)/installed-test
	TEST_DEADLINE=120 $(BIN)/python -m tests.torture --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10) $(TARGET)

mutants: $(VENV)/installed-test
	$(BIN)/python -m tests.mutants $(NAMES)

pictures: programs $(VENV)/installed-test
	$(BIN)/python -m pytest tests/integration/dashboard/test_scenes.py --pictures=build/pictures
	cp $(addprefix build/pictures/,$(notdir $(wildcard docs/images/*.png))) docs/images

# A tag may be given to another image at any time: what is built, and what the label says, is one digest. With LOCAL_BASE=1
# it is the image that Docker has under this tag, for machines that reach no registry. DOCKER_OPTIONS are for `docker build`.
image:
	@if [ -n "$(LOCAL_BASE)" ]; then \
		digest="$$(docker image inspect --format '{{.Id}}' "$(BASE)")" && context=; \
	else \
		found="$$(docker buildx imagetools inspect $(BASE_REGISTRY)/$(BASE))" && \
		digest="$$(printf '%s\n' "$$found" | sed -n 's/^Digest: *//p')" && \
		context="--build-context=$(BASE)=docker-image://$(BASE_REGISTRY)/$(firstword $(subst :, ,$(BASE)))@$$digest"; \
	fi && \
	docker buildx build --load --tag jobengine --tag jobengine:$(VERSION) $$context \
		--label "org.opencontainers.image.title=JobEngine" \
		--label "org.opencontainers.image.version=$(VERSION)" \
		--label "org.opencontainers.image.revision=$$(git rev-parse HEAD)" \
		--label "org.opencontainers.image.licenses=MIT" \
		--label "org.opencontainers.image.base.name=$(BASE_REGISTRY)/$(BASE)" \
		--label "org.opencontainers.image.base.digest=$$digest" $(DOCKER_OPTIONS) .

# What is published, tried as a user would. With QUICK=1 only wheel and sdist, from the checkout as it is, without a download.
release: $(VENV)/installed-test
	$(BIN)/python -m tests.release $(if $(QUICK),--quick)

news: $(VENV)/installed-test
	$(BIN)/towncrier build --yes --version $(VERSION)

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks.all

clean:
	rm -rf venv venv-* build dist *.egg-info

$(BIN)/python:
	@sh get-from-debian.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python $(SOURCES)
	@echo "Installing JobEngine in $(VENV), with what it needs. This may take a minute, without further output"
	$(PIP) .
	touch $@

# One call of pip installs what the targets above it do.
$(VENV)/installed-test: $(BIN)/python $(SOURCES)
	@echo "Installing JobEngine, and what tests and site need, in $(VENV). This may take some minutes, without further output"
	$(PIP) '.[test]'
	touch $(VENV)/installed $@

$(VENV)/installed-lint: $(BIN)/python $(SOURCES)
	@echo "Installing JobEngine, and what tests, site and linters need, in $(VENV). This may take some minutes, without further output"
	$(PIP) '.[test,lint]'
	touch $(VENV)/installed $(VENV)/installed-test $@

$(VENV)/installed-fuzz: $(VENV)/installed-test
	$(PIP) '.[test,fuzz]'
	touch $@

$(VENV)/installed-bench: $(VENV)/installed-test
	$(PIP) '.[test,bench]'
	touch $@
