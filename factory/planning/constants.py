"""All numbers of the planner that are measured or published; measured on 2 cores of a small machine."""

RATE_SPREAD = 0.08
"""Relative difference between two runs of one engine: `tests/benchmarks/throughput.py` measured 2 to 8 percent."""
STARTUP_SPREAD = 0.15
PREFILL = (0.1, 0.2, 0.35)
"""Cost of a prompt token that is computed, in generated ones. Measured on a CPU: 0.16 (384 dialogues of 64 characters
at 5.5 rows per second with the prefix cache and 2.9 without); by FLOPs on eight H100s with 70B: 0.3."""
FIXED_ON_CPU = (0.1, 0.2, 0.4)
"""Part of a full step that a single row takes too; 0.19 fits the steps of the demo's run."""
FIXED_ON_GPU = (0.25, 0.45, 0.75)
"""Published steps of an 8B model on an H100, 10.8, 11.6 and 13.0 ms with 1, 8 and 32 rows, give 0.36 at 256 rows
and 0.7 at 64."""

COMMAND_START_S = (8.0, 16.0, 30.0)
"""From a command to its first step, and from its last step to the end: 13 and 3 s on a small, busy machine."""
FIRST_STEP_S, NEXT_STEP_S = 8.0, 3.0
"""What a step of Ray Data takes regardless of its rows; the first one of a command starts the workers."""
CPUS_PER_GPU = 12
"""Cores that come with a GPU: 12 in a node of eight A100s, 24 in one of eight H100s."""
TASKS_PER_CORE = 2
"""Our Ray tasks request half a core each, so that two share one while they wait for S3."""
ESTIMATE_SPREAD = 0.4
"""Relative error of tokens per row that are estimated from the lengths of prompts and usual replies: half or twice as
many are possible."""
ROWS_SPREAD = 0.1
"""Relative error of a row count that is estimated from file sizes."""
INGEST_ROWS = 20_000.0
"""Rows per second that one task reads from a file, cleans and spills; cleaning alone does 99,000 short personas."""
READ_ROWS = 500.0 / TASKS_PER_CORE
"""Likewise for rows that are assigned, or tokenized and packed: rendering and tokenizing alone does 1,090 on a core;
tokenizing a dialogue and packing it takes about as long."""
FILTER_ROWS = 125.0 / TASKS_PER_CORE
"""Likewise for dialogues that are curated: 8 ms each on a core (`make bench ARGS=curation`: 245 per second on
two)."""
PERSONA_BYTES, ROW_BYTES = 130, 4096
"""Bytes per row by which `synthesis` and `training` choose the number of partitions."""

GETS_PER_SECOND = 5500.0
"""A prefix of S3 takes at least this many (AWS, "Optimizing Amazon S3 performance"); a table is a prefix."""
S3_LATENCY_S = (0.02, 0.1, 0.2)
"""A small object's first byte takes 100 to 200 ms (AWS, the same guide), and less from within the region."""
GETS_AT_ONCE = 128
"""By one task: s3fs has so many requests on their way."""

OPERATIONS = 6
"""Floating-point operations per parameter and token: two forward, four backward."""
RECOMPUTED = 8 / 6
"""With gradient checkpointing the forward pass is computed twice."""
MFU_SPREAD = 0.2
TOKENS_SPREAD = 0.1
TRAINING_START_S = (20.0, 60.0, 180.0)
"""Until workers have started and loaded the model, without a pilot."""

TEMPORARY_FACTOR = 1.5
"""Spilled rows are stored beside the table that they become, until it is finished."""
BYTES_PER_ROW = {
    "personas": 200, "instructions": 900, "assignments": 400, "given-profiles": 900, "profiles": 900, "dialogues": 1500,
    "judged": 500, "curated": 1700, "packed": 3000, "evaluation": 1000, "candidates": 3000, "comparisons": 500,
}  # fmt: skip
"""Of Parquet, without a pilot: about as in runs of the demo and of 6,000 scripted profiles. A candidate for a dialogue
is stored twice: as such, and as the dialogue or as passed over."""
BYTES_SPREAD = 0.2
OPTIMIZER_BYTES = 12
"""Per parameter in a checkpoint, beside the weights: in float32 the weights and Adam's two moments."""
WEIGHT_BYTES = 2
