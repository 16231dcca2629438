# GNU make and a POSIX shell. Everything is installed into .venv from pinned, hashed requirements; a second call starts
# at once. `make` alone lists the targets.

.ONESHELL:
.DELETE_ON_ERROR:
SHELL = /bin/sh
.SHELLFLAGS = -euc
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

# The newest interpreter that exists, really runs (a pyenv shim may not) and is new enough.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))

# Where somebody has set this, each process that a test starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

# What `make demo`, `make test` and so on hand to the program and to pytest. CI has two cores; a third of the tests wait.
DEMO_ARGS ?=
PYTEST_ARGS ?= -n 3
SOAK_ARGS ?= -n 2

# Which seeds `make simulate` runs.
SEEDS ?= 1-20

# What the tests need of the system, as command:package. Only what is missing is installed.
SYSTEM_PACKAGES ?= mosquitto:mosquitto mosquitto_sub:mosquitto-clients chromium:chromium systemd-analyze:systemd

RUNTIME = .venv/.runtime.stamp
DEV = .venv/.dev.stamp
PIP = .venv/bin/python -m pip --disable-pip-version-check --no-input --quiet

# A .venv is made anew when an installation into it was interrupted, when it was moved or copied here (its scripts
# would run the other place's code), or when its interpreter or pip is gone.
IS_SOUND = [ ! -e .venv/.unfinished ] && .venv/bin/python -c 'import pip' 2>/dev/null \
	&& { [ ! -e .venv/.place ] || [ "$$(cat .venv/.place)" = "$$PWD" ]; }
STALE := $(shell { $(IS_SOUND); } || echo FORCE)

# Mypy refuses a directory without Python files.
CHECKED = $(foreach name,mrdaemon tests benchmarks,$(if $(wildcard $(name)/*.py $(name)/*/*.py),$(name)))

# A shell function: system_install PACKAGE... by apt-get, or say what to install.
define SYSTEM_INSTALL
system_install() {
	echo "Installing system packages: $$*"
	as_root=
	if [ "$$(id -u)" -ne 0 ]; then as_root=sudo; fi
	if command -v apt-get >/dev/null && { [ -z "$$as_root" ] || command -v sudo >/dev/null; } \
		&& { $$as_root apt-get update -qq || true; } \
		&& $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$$@" >/dev/null
	then return 0; fi
	echo "Could not install them. Please install $$* (or what your system calls it), then run make again." >&2
	return 1
}
endef

.PHONY: help demo test check soak simulate bench homeassistant pins clean system-packages FORCE

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target does; do
		printf '%-20s %s\n' "$$target" "$$does" | sed 's/^/  /'
	done

demo: $(RUNTIME) ## the whole daemon on bundled prices and the paper broker: no keys, no network
	@exec .venv/bin/mrdaemon demo $(DEMO_ARGS)

test: $(DEV) system-packages check ## everything that must hold: check, then the tests with branch coverage
	.venv/bin/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

check: $(DEV) ## style, types and who imports whom
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy $(CHECKED)
	.venv/bin/lint-imports

soak: $(DEV) system-packages ## the long runs
	.venv/bin/python -m pytest -m soak --timeout=0 $(SOAK_ARGS)

simulate: $(DEV) ## the fault simulation: make simulate SEEDS="16 1-100"
	.venv/bin/python -m tests.simulation $(SEEDS)

bench: $(DEV) system-packages ## measure the speed
	@for script in benchmarks/bench_*.py; do
		echo "== $$script"
		.venv/bin/python -m "benchmarks.$$(basename "$$script" .py)"
	done

# Home Assistant wants versions of its own of much that we use, so it has a place of its own; which release it is depends
# on the interpreter: make homeassistant PYTHON=python3.13
homeassistant: $(DEV) system-packages ## ask a real Home Assistant what it makes of us (large; needs the network once)
	@there=.venv-homeassistant
	if [ "$$(cat $$there/.made-with 2>/dev/null)" != "$(PYTHON)" ]; then
		echo "Installing the homeassistant package into $$there"
		rm -rf "$$there"
		install() { "$$there/bin/python" -m pip --disable-pip-version-check --no-input --quiet install "$$@"; }
		wanted() { "$$there/bin/python" -c 'import homeassistant.const as h, json, pathlib; print(*json.loads((
			pathlib.Path(h.__file__).parent / "components/mqtt/manifest.json").read_text())["requirements"])'; }
		if ! { "$(PYTHON)" -m venv "$$there" && install homeassistant && install $$(wanted); }; then
			echo "Could not install the homeassistant package: see above. Nothing was checked." >&2
			echo "It is wanted for this check only; 'make test' does without." >&2
			exit 1
		fi
		printf '%s\n' "$(PYTHON)" >"$$there/.made-with"
	fi
	.venv/bin/python -m tests.homeassistant_cases >"$$there/cases.jsonl"
	"$$there/bin/python" tests/homeassistant_package.py docs/homeassistant.md <"$$there/cases.jsonl"
	if "$$there/bin/python" -c 'from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA' 2>/dev/null
	then .venv/bin/python -m tests.homeassistant_visit "$$there/bin/python" tests/homeassistant_house.py
	else echo "This release knows no devices over MQTT, so it was not started. Name a newer interpreter: PYTHON=..."; fi

pins: $(DEV) ## choose the newest versions within pyproject.toml's bounds and write requirements/ anew
	@if [ ! -x .venv/bin/uv ]; then $(PIP) install uv; fi
	compile() { .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links "$$@" >/dev/null; }
	compile --group build --output-file requirements/build.txt
	compile pyproject.toml --output-file requirements/runtime.txt
	compile pyproject.toml --group dev --constraints requirements/build.txt --constraints requirements/runtime.txt \
		--output-file requirements/dev.txt
	if grep -nE '://|find-links|index-url|@ ' requirements/*.txt; then
		echo "A pin names a place: see above." >&2; exit 1
	fi

clean: ## remove .venv and everything that the tools left behind
	rm -rf .venv .venv-homeassistant .coverage .coverage.* htmlcov build dist .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
	@$(SYSTEM_INSTALL)
	PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin" # where Debian keeps servers, but not for everybody
	set --
	for need in $(SYSTEM_PACKAGES); do
		if ! command -v "$${need%%:*}" >/dev/null; then set -- "$$@" "$${need#*:}"; fi
	done
	if [ "$$#" -gt 0 ]; then system_install "$$@"; fi

# The stamps are written last, so what was interrupted is done again.
$(RUNTIME): requirements/build.txt requirements/runtime.txt pyproject.toml $(STALE)
	@$(SYSTEM_INSTALL)
	if ! { $(IS_SOUND); }; then
		python='$(PYTHON)'
		if [ -z "$$python" ]; then
			echo "mrdaemon needs Python 3.11 or newer; none of python3.13, python3.12, python3.11, python3 is." >&2
			echo "Install one, or name it: make PYTHON=/path/to/python3" >&2
			exit 1
		fi
		if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
			echo "mrdaemon needs Python 3.11 or newer; PYTHON=$$python is not." >&2
			exit 1
		fi
		if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian packs them apart
			system_install "$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
		fi
		echo "Making .venv with $$("$$python" --version) ($$python)"
		rm -rf .venv
		mkdir .venv
		: >.venv/.unfinished
		"$$python" -m venv .venv
	fi
	: >.venv/.unfinished
	echo "Installing what mrdaemon needs to run"
	$(PIP) install --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	printf '%s\n' "$$PWD" >.venv/.place
	rm .venv/.unfinished
	touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@: >.venv/.unfinished
	echo "Installing what the tests need"
	$(PIP) install --require-hashes -r requirements/dev.txt
	rm .venv/.unfinished
	touch $@
