# Build, install and test pss. `make help` lists the targets.
#
# PG chooses the major of PostgreSQL (15, 16, 17, 18; default: what is installed, else one is
# installed); PG_CONFIG names one server exactly. PROFILE=dev builds in seconds what tests need; the
# default, release, is what users get. RUNS=5 repeats the demo and sums up, KEEP=1
# leaves its last server running to look at. docs/benchmarks.md says how to read bench-forecast
# (RIVAL=1 compares with augurs' AutoETS, too: minutes), bench-routing and simulate.

PG ?= any
export PROFILE ?= release
CARGO ?= cargo
export CARGO_TERM_PROGRESS_WHEN ?= never

TESTBED = $(CARGO) run --quiet --locked --package pss-testbed --

.PHONY: build install check-core test in-server-test regress isolation matrix installcheck cluster-test readme-test demo bench-forecast bench-routing bench-balance simulate clean help

build: ## build the extension (the default)
	@$(TESTBED) build --pg $(PG)

install: ## build it and install it into that server
	@$(TESTBED) install --pg $(PG)

check-core: ## seconds: tests and lints of what needs no server
	@$(CARGO) test --quiet --locked --package pss-core --package pss-querylog --package pss-simulate
	@$(CARGO) clippy --quiet --locked --package pss-core --package pss-querylog --package pss-simulate --all-targets -- --deny warnings

test: ## all tests; the last line says how many passed and failed
	@$(TESTBED) test --pg $(PG)

in-server-test: ## the tests compiled into the extension only, src/in_server.rs
	@$(TESTBED) in-server --pg $(PG)

regress: ## regression files only, tests/pg_regress
	@$(TESTBED) regress --pg $(PG)

isolation: ## isolation specs only, tests/isolation
	@$(TESTBED) isolation --pg $(PG)

matrix: ## every form of statement by every door, docs/statements.md; ACCEPT=1 writes that page
	@$(TESTBED) matrix --pg $(PG) $(if $(ACCEPT),--accept)

installcheck: ## PostgreSQL's own suites with pss and without: SRC=folder of its source (default: Debian's)
	@$(TESTBED) installcheck --pg $(PG) $(if $(SRC),--source "$(SRC)")

cluster-test: ## crash, restart, dump and crowd tests only
	@$(TESTBED) cluster --pg $(PG)

readme-test: ## the README's SQL only
	@$(TESTBED) readme --pg $(PG)

demo: ## watch real rows go to the partitions that are about to have room
	@$(TESTBED) demo --pg $(PG) $(if $(RUNS),--runs $(RUNS)) $(if $(KEEP),--keep)

bench-forecast: ## score the forecasts: SERIES=folder of CSV (default: our own), OUT=file for JSON
	@$(CARGO) run --quiet --locked --release --package pss-testbed $(if $(RIVAL),--features rival) \
		-- bench-forecast $(if $(RIVAL),--rival) \
		$(if $(SERIES),--series "$(SERIES)") $(if $(OUT),--out "$(OUT)")

bench-routing: ## time inserts and look-ups beside native hash: RUNS= ROWS= CASES= VARIANTS= OUT=
	@$(TESTBED) bench-routing --pg $(PG) $(if $(RUNS),--runs $(RUNS)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(CASES),--cases $(CASES)) \
		$(if $(VARIANTS),--variants $(VARIANTS)) $(if $(OUT),--out "$(OUT)")

simulate: ## pss and its rivals without a server: docs/benchmarks.md; CASES= KEYS= SEEDS= OUT= WORKLOAD= SIM=full
	@$(CARGO) run --quiet --locked --release --package pss-simulate -- \
		$(if $(CASES),--cases "$(CASES)") $(if $(KEYS),--keys "$(KEYS)") \
		$(if $(PARTITIONS),--partitions $(PARTITIONS)) $(if $(DELAY),--delay $(DELAY)) \
		$(if $(INTERVAL),--interval $(INTERVAL)) $(if $(POLICY),--policy $(POLICY)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(filter full,$(SIM)),--full) $(if $(WHY),--why) \
		$(if $(SERIES),--series "$(SERIES)") $(if $(WORKLOAD),--workload "$(WORKLOAD)") \
		$(if $(PERIOD),--period $(PERIOD)) $(if $(EXPORT),--export "$(EXPORT)") \
		$(if $(OUT),--out "$(OUT)") --plots "$(or $(PLOTS),build/simulate.svg)"

bench-balance: ## load, latency and lock waits beside foreign jobs, hash against pss: RUNS= SECONDS= OUT=
	@$(TESTBED) bench-balance --pg $(PG) $(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(CLIENTS),--clients $(CLIENTS)) $(if $(KNOWN),--known $(KNOWN)) \
		$(if $(PERIOD),--period $(PERIOD)) $(if $(OUT),--out "$(OUT)")

clean: ## remove everything built, installed below build/ and left by tests
	@$(CARGO) clean --quiet
	@rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 15
