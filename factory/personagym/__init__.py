"""A role-playing benchmark in the layout of a PersonaGym checkout: its files, personas, questions, rubrics, prompts."""

from factory.personagym.benchmark_folder import (
    BUILT_IN,
    LIGHT_SUFFIX,
    OFFICIAL,
    TASKS,
    Benchmark,
    all_questions,
    benchmark_digest,
    chosen_personas,
    open_benchmark,
    persona_questions,
)
from factory.personagym.checkout_files import PERSONAS_JSON, question_sets, read_personas, read_tasks, read_texts
from factory.personagym.checkout_prompts import (
    PROMPT_PATHS,
    CheckoutPrompts,
    Route,
    fill_slots,
    read_checkout_prompts,
    read_role_prompt,
)
from factory.personagym.frozen import FROZEN, Frozen, read_frozen
from factory.personagym.persona_strata import STRATA_JSON, Strata

__all__ = [
    "BUILT_IN",
    "FROZEN",
    "LIGHT_SUFFIX",
    "OFFICIAL",
    "PERSONAS_JSON",
    "PROMPT_PATHS",
    "STRATA_JSON",
    "TASKS",
    "Benchmark",
    "CheckoutPrompts",
    "Frozen",
    "Route",
    "Strata",
    "all_questions",
    "benchmark_digest",
    "chosen_personas",
    "fill_slots",
    "open_benchmark",
    "persona_questions",
    "question_sets",
    "read_checkout_prompts",
    "read_frozen",
    "read_personas",
    "read_role_prompt",
    "read_tasks",
    "read_texts",
]  # fmt: skip
