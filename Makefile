# Commands for development and runs; `make help` lists them. Every target runs `make setup` first if needed.

# Which lock file: cpu or gpu. Once set up, .venv keeps the one it was set up with until another is named.
ACCELERATOR ?= $(or $(patsubst .venv/.setup-%,%,$(firstword $(wildcard .venv/.setup-*))),cpu)
LOCK := locks/$(ACCELERATOR).txt
STAMP := .venv/.setup-$(ACCELERATOR)

# The Python that .venv is made with: the first one here that the lock files fit.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)

# torch's CPU build is not on PyPI: it comes out of PIP_FIND_LINKS where that is set, else from PyTorch's own index. The
# file is the same, and the lock has the hashes of those for Python 3.11 and 3.12. A folder with one of them gives a new
# version one hash: let make lock --upgrade ask the index (PIP_FIND_LINKS= make lock).
CPU_TORCH := $(or $(addprefix --find-links ,$(PIP_FIND_LINKS)),--torch-backend cpu)

# The system's certificates, so that a company's proxy is trusted.
UV_SYSTEM_CERTS ?= true
export UV_SYSTEM_CERTS

# $(call need,NAME) ends with one line where the variable NAME was not given.
need = @:$(if $($1),,$(error make $(firstword $(MAKECMDGOALS)) needs $1=..., see make help))

.DEFAULT_GOAL := help
.PHONY: help setup lock docs demo example synthesize curate train evaluate eval judge-check label calibrate judges-up judges-down generate-benchmark freeze-benchmark plan tune trace compare prune export export-scores push-model report chat submit dashboards check lint types test test-fast test-slow bench chaos prompts-lock format

help:
	@awk -F ' *:.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)
	@printf '\nGive variables after the target: make setup ACCELERATOR=gpu\n'

##@ Set up

setup: $(STAMP)  ## .venv/ from locks/cpu.txt, every file checked by its hash; ACCELERATOR=gpu takes locks/gpu.txt

$(STAMP): $(LOCK) pyproject.toml | .venv/bin/uv
	@rm -f .venv/.setup-*
	.venv/bin/uv pip sync --require-hashes --build-constraint $(LOCK) --compile-bytecode --python .venv/bin/python \
		$(if $(filter cpu,$(ACCELERATOR)),$(CPU_TORCH)) $(LOCK)
	.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	.venv/bin/python -m compileall -q factory jobs
	@touch $@

.venv/bin/uv:
	@$(or $(PYTHON),false) -c '$(FITS)' || \
		{ echo 'make setup needs Python 3.11 or 3.12; name one with PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	awk '/^uv==/ { found = 1 } found; found && !/\\$$/ { exit }' $(LOCK) > .venv/uv.txt
	.venv/bin/python -m pip install --quiet --no-deps --require-hashes --requirement .venv/uv.txt

lock: .venv/bin/uv  ## both lock files from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(COMPILE) --extra all-cpu $(CPU_TORCH) --override locks/overrides.txt --output-file locks/cpu.txt $(ARGS)
	$(COMPILE) --extra all --output-file locks/gpu.txt $(ARGS)

COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' .venv/bin/uv pip compile --quiet pyproject.toml --group dev \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --no-emit-find-links --generate-hashes

##@ Run

DEMO := jobs/configs/demo.yaml

demo: $(STAMP)  ## the factory in miniature, on this machine's CPU: personas to a trained model, its score and a report
	.venv/bin/python jobs/synthesize.py --config $(DEMO) $(ARGS)
	.venv/bin/python jobs/curate.py --config $(DEMO) $(ARGS)
	.venv/bin/python jobs/train.py --config $(DEMO) $(ARGS)
	.venv/bin/python jobs/evaluate.py --config $(DEMO) $(ARGS)
	.venv/bin/python jobs/report.py --config $(DEMO) $(ARGS)

EXAMPLE := jobs/configs/example.yaml

example: $(STAMP)  ## hand-written characters and dialogues through synthesis, curation and the report, in under a minute
	.venv/bin/python jobs/synthesize.py --config $(EXAMPLE) $(ARGS)
	.venv/bin/python jobs/curate.py --config $(EXAMPLE) $(ARGS)
	.venv/bin/python jobs/report.py --config $(EXAMPLE) $(ARGS)

synthesize: needs-config $(STAMP)  ## personas to profiles and dialogues: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/synthesize.py --config $(CONFIG) $(ARGS)

curate: needs-config $(STAMP)  ## dialogues to the training and validation sets: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/curate.py --config $(CONFIG) $(ARGS)

train: needs-config $(STAMP)  ## curated dialogues to checkpoints and a model: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/train.py --config $(CONFIG) $(ARGS)

generate-benchmark: needs-config $(STAMP)  ## personas to a new benchmark of role-playing: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/generate_benchmark.py --config $(CONFIG) $(ARGS)

freeze-benchmark: needs-config $(STAMP)  ## a benchmark with its example replies to the store that runs share: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/freeze_benchmark.py --config $(CONFIG) $(ARGS)

evaluate: needs-config $(STAMP)  ## candidates to their PersonaGym scores: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/evaluate.py --config $(CONFIG) $(ARGS)

eval: evaluate

report: needs-config $(STAMP)  ## a run to a page that shows it, report/index.html: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/report.py --config $(CONFIG) $(ARGS)

judge-check: needs-config $(STAMP)  ## how reliable each judge is: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/judge_check.py --config $(CONFIG) $(ARGS)

label: needs-config $(STAMP)  ## a page on which people score answers, blind: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/label.py --config $(CONFIG) $(ARGS)

calibrate: needs-config $(STAMP)  ## judges against people's labels: CONFIG=FILE ARGS="key=value ..."
	.venv/bin/python jobs/calibrate.py --config $(CONFIG) $(ARGS)

judges-up: needs-config $(STAMP)  ## start a persistent fleet of judges; make judges-down stops it: CONFIG=FILE
	.venv/bin/python jobs/judges_up.py --config $(CONFIG) $(ARGS)

judges-down: $(STAMP)  ## stop the persistent fleet of judges
	.venv/bin/python jobs/judges_down.py

tune: needs-config $(STAMP)  ## the fastest vLLM settings for a run, written into its config: CONFIG=FILE ARGS="--only NAME key=value ..."
	.venv/bin/python jobs/tune.py --config $(CONFIG) $(ARGS)

plan: needs-config $(STAMP)  ## time, cost and bottlenecks of a run, before it runs: CONFIG=FILE ARGS="--pilot FOLDER key=value ..."
	.venv/bin/python jobs/plan.py --config $(CONFIG) $(ARGS)

trace: needs-config $(STAMP)  ## where a row comes from and went: CONFIG=FILE ID=... or EXPLAIN=TASK ARGS="--json key=value ..."
	.venv/bin/python jobs/trace.py --config $(CONFIG) $(addprefix --id ,$(ID)) $(if $(EXPLAIN),--explain "$(EXPLAIN)") $(ARGS)

compare: needs-config $(STAMP)  ## two candidates answer by answer: CONFIG=FILE ARGS="--candidates A B --with FOLDER --json key=value ..."
	.venv/bin/python jobs/compare.py --config $(CONFIG) $(ARGS)

prune: needs-config $(STAMP)  ## list archived tables with their size; ARGS=--yes deletes them: CONFIG=FILE
	.venv/bin/python jobs/prune.py --config $(CONFIG) $(ARGS)

export: needs-config needs-format $(STAMP)  ## curated dialogues to files for other tools, with a card: CONFIG=FILE FORMAT=messages|sharegpt|alpaca|opencharacter|cards
	.venv/bin/python jobs/export.py --config $(CONFIG) --format $(FORMAT) $(ARGS)

export-scores: needs-config needs-format $(STAMP)  ## scores for other tools: CONFIG=FILE FORMAT=model-index|inspect|lm-eval
	.venv/bin/python jobs/export_scores.py --config $(CONFIG) --format $(FORMAT) $(ARGS)

push-model: needs-config $(STAMP)  ## the trained model to the Hugging Face Hub: CONFIG=FILE ARGS="--push-to-hub OWNER/NAME [--public]"
	.venv/bin/python jobs/push_model.py --config $(CONFIG) $(ARGS)

chat: $(STAMP)  ## a page to make characters and talk to them: CONFIG=FILE, by default the demo's; ARGS="key=value ..."
	.venv/bin/python jobs/chat.py --config $(or $(CONFIG),$(DEMO)) $(ARGS)

PROMETHEUS_PORT ?= 9090
GRAFANA_PORT ?= 3000

dashboards: $(STAMP)  ## Prometheus and Grafana for Ray on this machine, or for ADDRESS=http://HEAD:8265
	.venv/bin/python cluster/dashboards/show.py --prometheus-port $(PROMETHEUS_PORT) --grafana-port $(GRAFANA_PORT) \
		$(addprefix --address ,$(ADDRESS)) $(addprefix --grafana ,$(GRAFANA)) $(ARGS)

.PHONY: needs-config needs-format
needs-config: ; $(call need,CONFIG)
needs-format: ; $(call need,FORMAT)

##@ Cluster

cluster-up: $(STAMP)  ## a local cluster with Ray's autoscaler; CLOUD=aws|gcp|kubernetes VARIABLES=FILE for a cloud
	$(if $(CLOUD),$(MAKE) --no-print-directory cluster-files && $(UP_$(CLOUD)),.venv/bin/python cluster/local.py up $(ARGS))

cluster-status: $(STAMP)  ## its workers over time, and its jobs; ADDRESS=http://HEAD:8265 for another cluster
	.venv/bin/python cluster/local.py status $(addprefix --address ,$(ADDRESS))

cluster-down: $(STAMP)  ## end it, with all its workers; CLOUD=... elsewhere
	$(if $(CLOUD),$(DOWN_$(CLOUD)),.venv/bin/python cluster/local.py down)

submit: needs-job needs-config $(STAMP)  ## send it a job and follow it: JOB=synthesize CONFIG=FILE; ADDRESS=http://HEAD:8265 for another cluster
	.venv/bin/python cluster/job.py submit $(JOB) --config $(CONFIG) $(addprefix --address ,$(ADDRESS)) $(ARGS)

logs: needs-job-id $(STAMP)  ## follow a job: JOB_ID=...
	.venv/bin/python cluster/job.py logs $(JOB_ID) $(addprefix --address ,$(ADDRESS))

stop: needs-job-id $(STAMP)  ## let a job finish what is in flight and end; a second time ends it at once: JOB_ID=...
	.venv/bin/python cluster/job.py stop $(JOB_ID) $(addprefix --address ,$(ADDRESS))

cluster-files: needs-cloud $(STAMP)  ## the files of a cluster elsewhere alone: CLOUD=aws|gcp|kubernetes VARIABLES=FILE
	.venv/bin/python cluster/render.py $(CLOUD) $(if $(VARIABLES),--variables $(VARIABLES))

UP_aws = .venv/bin/ray up --yes runs/cluster/aws.yaml
UP_gcp = .venv/bin/ray up --yes runs/cluster/gcp.yaml
DOWN_aws = .venv/bin/ray down --yes runs/cluster/aws.yaml
DOWN_gcp = .venv/bin/ray down --yes runs/cluster/gcp.yaml
STANDING := $(addprefix -f runs/cluster/kubernetes/,access.yaml network.yaml raycluster.yaml)
UP_kubernetes = kubectl apply $(STANDING)
DOWN_kubernetes = kubectl delete -f runs/cluster/kubernetes/raycluster.yaml

.PHONY: cluster-up cluster-status cluster-down logs stop cluster-files needs-cloud needs-job needs-job-id
needs-cloud: ; $(call need,CLOUD)
needs-job: ; $(call need,JOB)
needs-job-id: ; $(call need,JOB_ID)

##@ Docs

docs: $(STAMP)  ## generated pages, then the site in site/; a broken link fails
	.venv/bin/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

##@ Check

check: lint types test  ## lint, types and make test: what CI runs

lint: $(STAMP)  ## format, lint rules, the direction of imports, spelling, Dockerfiles
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/typos
	.venv/bin/hadolint cluster/Dockerfile.*

types: $(STAMP)  ## static types
	.venv/bin/mypy

test: $(STAMP)  ## all tests that need no GPU, but the slow ones; ARGS="-k NAME" for some of them
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(STAMP)  ## the unit and golden tests alone
	.venv/bin/python -m pytest -n logical tests/unit tests/golden $(ARGS)

test-slow: $(STAMP)  ## the long real runs that make test leaves out: kills, faults, adapters
	.venv/bin/python -m pytest -m slow $(ARGS)

bench: $(STAMP)  ## the benchmarks
	.venv/bin/python -m tests.benchmarks.run $(ARGS)

chaos: $(STAMP)  ## faults at random moments, and what they cost: ARGS="--seed 7 --faults 20 --scenarios synthesis replicas engine training judging"
	.venv/bin/python -m tests.chaos.run $(ARGS)

prompts-lock: $(STAMP)  ## note the hashes of new prompt versions in prompts/versions.txt
	.venv/bin/python -m factory.inference.prompt_lock

format: $(STAMP)  ## format the code and fix what the linter can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
