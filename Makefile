# Every target does its own set-up: a machine needs python3 (with venv and pip) and make. With a C compiler and Python.h
# the hot path is compiled; the benchmark needs a C compiler,
# and zlib.h for its rows of compressed messages.
PYTHON ?= python3
DISTRIBUTION ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
# What the compiled hot path is made from: when it changes, it is compiled again.
TYPES := $(wildcard mpchat/*/*.pxd mpchat/*/*.pyx)
HOT := $(TYPES) $(wildcard $(addsuffix .py,$(basename $(TYPES)))) mpchat/compiled.py hatch_build.py

.PHONY: serve chat browser-test pictures test test-interpreted quick chaos chaos-all pressure attack systemd-test proxies tls-test prometheus cluster-test test-pythons test-wheel test-install sanitize lint lint-mypy lint-others userver-names docs site lock wheel conformance fuzz loadtest bench bench-distribution bench-hosts bench-idle bench-storm bench-tls bench-quick instructions clean

# At a terminal a service gets a process group of its own: Ctrl-C stops the service, and make ends well.
in_front = @if [ -t 0 ]; then sh -mc '$(1); exit $$?'; else exec $(1); fi

serve: $(VENV)/.serve
	$(call in_front,$(BIN)/mpchat serve -c static_config.yaml)

# The example chat on http://localhost:8080/: open it in several tabs.
chat: $(VENV)/.serve
	$(call in_front,$(BIN)/python docs/examples/chat/chat.py --config docs/examples/chat/chat.yaml)

# The tortures by themselves, since they have to judge what clients wait for; those of rooms keep both cores busy.
test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 4 --dist worksteal --ignore tests/chaos --ignore tests/injection tests
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/chaos -k 'not rooms'
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/chaos -k rooms
	$(BIN)/python -m pytest -q tests/injection

# The same hot path as Python: the packages that have compiled modules, or serve connections by them, and a part of what
# serves. All others are the same code in both forms. A quarter of the streams that are compared with websockets: they
# take twice as long as compiled.
INTERPRETED := $(addprefix tests/unit/,ipc rooms scoreboard server testing tls websocket worker test_compiled.py) \
	$(addprefix tests/functional/,test_authors_mistakes.py test_chat.py test_compiled.py \
	test_compression.py test_hangs.py test_limits.py test_rooms.py test_slow_clients.py test_slow_websockets.py \
	test_tls.py test_tls_ends.py) \
	tests/functional/test_restart.py::test_new_code_comes_slot_by_slot_and_everything_is_new
test-interpreted: $(VENV)/.test
	MPCHAT_COMPILED=0 $(BIN)/python -m pytest -q -n 4 --dist worksteal $(INTERPRETED) \
		$(foreach seed,2 3 4 5 6 7,--deselect \
		'tests/unit/websocket/test_differential.py::test_parser_and_websockets_agree[$(seed)]')

# While you work: the parsers, tables and parts by themselves, and each kind of process once; under a minute.
quick: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/unit --ignore tests/unit/loadtests \
		--ignore tests/unit/websocket/test_differential.py tests/functional/test_chat.py \
		tests/functional/test_processes.py::test_a_killed_worker_is_replaced \
		tests/functional/test_reload.py::test_a_good_file_is_a_new_generation \
		tests/functional/test_restart.py::test_new_code_comes_slot_by_slot_and_everything_is_new

# All of them in full, for a quarter of an hour on a quiet machine; writes docs/reliability.md. For some, or in short:
# .venv/bin/python -m tests.chaos --help
# Then each call site of supervisor, template, monitor and boot fails with each errno, three times: twenty minutes.
chaos: $(VENV)/.test
	$(BIN)/python -m tests.chaos --write docs/reliability.md
	$(BIN)/python -m tests.injection

# Limits of processes, descriptors and memory that are reached at random moments, and calls that fail by strace: needs
# root, control groups and Debian's strace. LIVES of each kind, by default ten.
pressure: $(VENV)/.test
	$(BIN)/python -m tests.injection.pressure --lives $(or $(LIVES),10)

# Every single call fails once with each errno; hours.
chaos-all: $(VENV)/.test
	$(BIN)/python -m tests.injection --all

# 2,000 attackers of each kind beside 100 honest clients, ten minutes on a quiet machine; writes docs/attacks.md.
attack: $(VENV)/.test
	$(BIN)/python -m tests.attacks --write docs/attacks.md

# Five minutes of random handshakes, compared with h11 and wsproto, and of frames, with websockets. A failure names its
# seed: SEED=1 make fuzz
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz --seconds 300 $(if $(SEED),--seed $(SEED))

# What depends on the Python, by 3.12 to 3.15, compiled by each: those of this machine, and others from Debian's sid,
# which needs root and mmdebstrap. For some: .venv/bin/python -m tests.pythons 3.13
test-pythons: wheel $(VENV)/.test
	$(BIN)/python -m tests.pythons

# The functional tests against the built wheel, compiled, in an environment of its own, beside a copy of the tests,
# examples and configs alone: the package can only come from the wheel. For some: make test-wheel TESTS=tests/functional/test_kit.py
test-wheel: wheel
	rm -rf build/wheel && mkdir -p build/wheel
	cp -r tests docs static_config.yaml dynamic_config_fallback.json pyproject.toml build/wheel/
	$(PYTHON) -m venv build/wheel/.venv
	build/wheel/.venv/bin/python -m pip install --quiet "$$(ls -t dist/mpchat-*.whl | head -1)[test,nats,nats-server]"
	cd build/wheel && .venv/bin/mpchat check -c static_config.yaml
	cd build/wheel && MPCHAT_COMPILED=1 .venv/bin/python -m pytest -q -n 4 --dist worksteal $(or $(TESTS),tests/functional)

# The package as it is installed: from its distributions, with and without a C compiler, after an edit, and deploy/Dockerfile
# step by step in minimal Debians, which needs root and mmdebstrap.
test-install: wheel $(VENV)/.test
	$(BIN)/python -m pytest -x -v -n 2 --dist worksteal --durations=5 tests/install/checks.py

# What the compiled code does to memory: the WebSocket's unit tests, the differential one among them, and FUZZ seconds of
# random frames, by gcc's AddressSanitizer and UndefinedBehaviorSanitizer. For some:
# make sanitize TESTS=tests/unit/websocket/test_parser.py
# Without optimizing the compiler takes less than half the time, and leaves out nothing that is undefined.
SANITIZERS := -O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
sanitize: $(VENV)/.test
	rm -rf build/sanitize && mkdir -p build/sanitize
	cp -r tests docs static_config.yaml dynamic_config_fallback.json pyproject.toml build/sanitize/
	MPCHAT_COMPILE=1 CC=gcc CFLAGS="$(SANITIZERS)" $(BIN)/python -m pip install --quiet --no-deps --target build/sanitize .
	cd build/sanitize && export LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0:malloc_context_size=4:quarantine_size_mb=32 PYTHONMALLOC=malloc MPCHAT_COMPILED=1 && \
		../../$(BIN)/python -m pytest -q -n 2 -p no:cacheprovider $(or $(TESTS),tests/unit/websocket) && \
		../../$(BIN)/python -m tests.fuzz --only frames --seconds $(or $(FUZZ),60) $(if $(SEED),--seed $(SEED))

# The unit in a minimal Debian with a real systemd: needs root, and Debian's mmdebstrap and systemd-container.
systemd-test: wheel $(VENV)/.test
	$(BIN)/python -m pytest -x -v --durations=5 tests/systemd/checks.py

# docs/proxies.md and deploy/compose/haproxy.cfg in real proxies, in half a minute on a quiet machine: needs Debian's
# nginx, caddy, haproxy and openssl.
proxies: $(VENV)/.test
	$(BIN)/python -m pytest -x -v --durations=5 tests/proxies/checks.py tests/proxies/compose_checks.py

# TLS as the world's tools see it, and what docs/tls.md says that is offered, in half a minute: needs Debian's openssl, curl,
# sslscan and chromium.
tls-test: $(VENV)/.browser
	$(BIN)/python -m pytest -x -v --durations=5 tests/tls/checks.py tests/tls/page_checks.py

# The alerts and the dashboard of deploy/, and docs/monitoring.md with a real Prometheus that scrapes a service, in half a
# minute: needs Debian's prometheus.
prometheus: $(VENV)/.test
	$(BIN)/python -m pytest -x -v --durations=5 tests/prometheus/checks.py

# Three hosts with rooms in common, each with a server of NATS, behind HAProxy, on a network of their own: drained and
# updated, a server killed, a host cut off. In short, two minutes; `make cluster-test CLIENTS=3000` takes seven, and more
# than two cores. Needs root, Debian's haproxy and iproute2.
cluster-test: $(VENV)/.test
	$(BIN)/python -m pytest -x -v --durations=5 tests/cluster/checks.py

# The example chat as people see it, and its console, while the service is treated badly: a minute and a half, with
# Debian's chromium.
browser-test: $(VENV)/.browser
	$(BIN)/python -m pytest -x -v --durations=5 tests/browser/room_checks.py tests/browser/checks.py \
		tests/browser/console_checks.py

# The pictures of docs: six minutes, with Debian's chromium.
pictures: $(VENV)/.browser
	$(BIN)/python -m tests.browser.screenshot docs/chat.png
	$(BIN)/python -m tests.browser.console_screenshot docs

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory -j 2 --output-sync=target lint-mypy lint-others

# Each of the two keeps a core busy for about as long.
lint-mypy:
	$(BIN)/mypy

lint-others:
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/linux/test_seam.py
	rm -rf build/new && mkdir -p build/new
	cd build/new && ../../$(BIN)/mpchat new plain >/dev/null && ../../$(BIN)/mpchat new login --auth >/dev/null \
		&& ../../$(BIN)/mpchat new rooms --rooms >/dev/null
	set -e; for name in plain login rooms; do cd $(CURDIR)/build/new/$$name; \
	../../../$(BIN)/ruff check --no-respect-gitignore .; ../../../$(BIN)/mypy --cache-dir ../mypy; done

# Adds the names of a userver checkout, of any version: make userver-names TREES='../userver'
userver-names: $(VENV)/.test
	$(BIN)/python tools/userver_names.py $(TREES)

# Prints the reference pages from the models and constants; `make test` fails when they are stale.
docs: $(VENV)/.test
	$(BIN)/python docs/generate.py

# The documentation site, in build/site. A link that leads nowhere is an error, and so is a page that is not in
# docs/README.md. Always whole: each page shows the list of all others.
site: $(VENV)/.docs
	rm -rf build/site
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -c docs/site -d build/doctrees -E . build/site
	@echo 'The site is in build/site/index.html.'

# Takes today's releases of the dependencies into what deployments install.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile pyproject.toml --extra nats --extra monitor --extra top --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' --quiet --output-file deploy/requirements.txt

# All cases of Autobahn|Testsuite, plain and through TLS, a few minutes; writes docs/conformance.md. `make test` runs the quick ones.
conformance: $(VENV)/.test
	$(BIN)/python -m tests.conformance --write docs/conformance.md

loadtest: $(VENV)/.load
	$(BIN)/python loadtests/run.py

# Most of an hour on a quiet machine; writes docs/benchmark.md, .json and .svg, and README's paragraph on them.
bench: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench --write ../docs
	@if [ -x $(DISTRIBUTION) ] && [ "$$($(DISTRIBUTION) -VV)" != "$$($(BIN)/python -VV)" ]; then \
	$(MAKE) bench-distribution; fi

# A short table by the distribution's Python, in the same pages; ten minutes.
bench-distribution: $(VENV)/.bench
	$(DISTRIBUTION) -m venv build/distribution
	build/distribution/bin/python -m pip install --quiet --editable '.[bench]'
	cd loadtests && ../$(BIN)/python -m bench --quick --rounds 7 --seconds 0.6 --servers mpchat picows \
		--python ../build/distribution/bin/python --write ../docs

# As many connections at rest as the machine takes, up to MOST, by default a million; writes docs/benchmark-idle.md and
# .json. A million takes an hour on two cores, and nearly all of 24 GiB: FLOOR of them, by default 3, stay available.
bench-idle: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench.idle --most $(or $(MOST),1000000) --floor $(or $(FLOOR),3) \
		--seconds 50 --settle 15 --write ../docs

# Rooms across two hosts, which are network namespaces where root runs it; under ten minutes. Writes scale-out.json and
# the tables of docs/scale-out.md.
bench-hosts: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench.hosts --write ../docs/scale-out.md

# A storm of handshakes, and of requests that burn CPU, at a service with congestion control and without; two minutes on a
# quiet machine, as root, so that those who measure come first. Writes docs/benchmark-overload.md and .json.
bench-storm: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench.storm --write ../docs

# TLS beside the servers that speak it themselves, in ten minutes on a quiet machine; needs Debian's libssl-dev. Writes
# docs/benchmark-tls.md and .json.
bench-tls: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench.tls --write ../docs

# Two minutes. For other rows and servers: cd loadtests && ../.venv/bin/python -m bench --help
bench-quick: $(VENV)/.bench
	cd loadtests && ../$(BIN)/python -m bench --quick

# Instructions of a worker's own code for a message, by callgrind: the same on a busy machine. A few minutes; needs
# Debian's valgrind.
instructions: $(VENV)/.test
	$(BIN)/python -m tests.instructions

# What a release publishes, in dist: the compiled wheel for this Python, with the tag of the oldest C library that it runs
# with, and the source distribution, from which others are built.
wheel: $(VENV)/.release
	rm -rf build/dist
	MPCHAT_COMPILE=1 $(BIN)/python -m build --sdist --wheel --outdir build/dist .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir build/dist/repaired build/dist/*.whl
	$(BIN)/check-wheel-contents build/dist/repaired
	$(BIN)/twine check --strict build/dist/repaired/*.whl build/dist/*.tar.gz
	mkdir -p dist && mv build/dist/repaired/*.whl build/dist/*.tar.gz dist

clean:
	rm -rf $(VENV) build dist loadtests/bench/peers/node_modules mpchat/_compiled *.egg-info

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# To be served soon: Python writes the bytecode of what it imports, pip would write that of everything.
$(VENV)/.serve: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

$(VENV)/.test: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[test,nats-credentials,nats-server,load,conformance,manifests]'
	@touch $@ $(VENV)/.serve

$(VENV)/.load: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[load]'
	@touch $@ $(VENV)/.serve

$(VENV)/.bench: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.serve

$(VENV)/.docs: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.serve

$(VENV)/.browser: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[test,browser]'
	@touch $@ $(VENV)/.serve

$(VENV)/.release: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	@touch $@ $(VENV)/.serve

$(VENV)/.dev: pyproject.toml $(HOT) | $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --editable '.[test,nats-credentials,nats-server,browser,load,conformance,manifests,bench,docs,release,dev]'
	@touch $@ $(VENV)/.serve $(VENV)/.test $(VENV)/.browser $(VENV)/.load $(VENV)/.bench $(VENV)/.docs $(VENV)/.release
