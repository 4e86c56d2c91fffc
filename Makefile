# SPDX-License-Identifier: Apache-2.0
# Two words do everything on a fresh Debian 12 machine, as root: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?= 60
export DEBIAN_FRONTEND := noninteractive
export PYTHONDONTWRITEBYTECODE :=

TIERS := lint unit system coverage cgroup2 conformance fuzz

.PHONY: run test install install-test $(TIERS) bench man clean

run: install  ## install Boxship, and run the main job: the machine's own userland as a container
	@$(BIN)/box run --hostname boxship host -- sh -c 'echo "hello from $$(hostname), pid $$$$, $$(id)"; ps ax; df -h /; touch /etc/only-in-here; ls -l /etc/only-in-here'
	@test ! -e /etc/only-in-here && echo "the host has no /etc/only-in-here: the container's changes were its own"

test: install-test  ## everything, tier by tier
	@bash tests/tiers.sh $(TIERS)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml CMakeLists.txt $(shell find src -name '*.py' -o -name '*.c' -o -name '*.h')
	@bash tests/packages.sh gcc libc6-dev libseccomp2 $(if $(filter python3,$(PYTHON)),$(shell command -v python3 >/dev/null && $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || echo python3 python3-venv))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings=cmake.define.BOXSHIP_WERROR=$(or $(WERROR),OFF) .
	@touch $@

install-test: WERROR := ON
install-test: install
	@bash tests/packages.sh $$(cat tests/packages.txt)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$($(BIN)/python tests/requirements.py)

lint:  ## ruff, mypy --strict, cppcheck
	@$(BIN)/ruff check src tests
	@$(BIN)/mypy
	@cppcheck --quiet --std=c11 --enable=warning,style,performance,portability --inline-suppr --error-exitcode=1 \
	  --suppressions-list=tests/cppcheck.txt src/boxship/native tests/probe

unit:
	@rm -f .coverage*
	@$(BIN)/coverage run -m pytest tests/unit

system:
	@$(BIN)/coverage run -m pytest tests/system

coverage:  ## of what the tests ran in their own process; the commands that they start are not counted
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --sort=cover --fail-under=55

cgroup2:  ## the same system tests on a kernel with cgroup v2 alone and AppArmor
	@$(BIN)/python tests/cgroup2/run.py

conformance:  ## podman and dockerd with boxc as their runtime
	@$(BIN)/python -m pytest tests/conformance

fuzz:
	@bash tests/fuzz/run.sh $(SECONDS)

bench: install
	@$(BIN)/box bench startup
	@$(BIN)/box bench footprint

man: install
	@$(BIN)/python -m boxship.cli.manpage docs/man

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
