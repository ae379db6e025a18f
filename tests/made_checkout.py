"""A folder laid out as a PersonaGym checkout, upstream's or OpenCharacter's fork of it, with content of our own."""

import json
from pathlib import Path

from factory.personagym import LIGHT_SUFFIX, OFFICIAL, TASKS

PERSONAS = (
    "A ferryman from Split who has never learned to swim",
    'A baker\'s widow from Graz, 61, who says "so be it" too often',
    "An apprentice clockmaker from Nagoya, who is late for everything",
    "A goatherd from the Pamirs with a satellite phone",
)
RUBRIC = """You grade one answer, and end with "Therefore, the final score is ...".

Evaluation Task:

{task}

Evaluation Criteria:

Score = 1: It fails.

Score = 2: It is poor.

Score = 3: It is fair.

Score = 4: It is “good”.

Score = 5: It is best.

------------------------------
{{score_example}}
------------------------------

Persona Description:

{{persona}}

Question:

{{question}}

Response:

{{response}}


Evaluation Form:
"""
SYSTEM = "You grade answers, strictly and fairly.\n\n"
OUTLINE = """Grade each answer by its rubric, in this form.

Format:
(1) Evaluation:
(2) Evaluation:

Rubrics:
{rubrics}
"""
EXAMPLE = """Write an answer for each score.

Persona: {persona}
Question: {question}
Rubric: {rubric}

Score 1:  Response -
"""
EXAMPLES_HEAD = "Write examples in this form.\n\nRubric 1 Examples:\nScore 1:  Response - \n\n"
EXAMPLES_TAIL = "Rubrics:\n{rubrics}"
SEVERAL = f"{EXAMPLES_HEAD}Rubric 2 Examples: \nScore 1:  Response - \n\nRubric 3 Examples:\n\n{EXAMPLES_TAIL}"
API_PROMPT = "You are now {persona}. Answer as they would."
TUNED_PROMPT = "You play somebody.\n\n# Persona\n{persona}\n\nStay in the role. Don't harm anybody."
CODE = """
raise SystemExit("this must never run")


def openai_chat_gen(input_prompt=None, persona=None, system=None, message=None):
    if not message:
        if persona:
            persona_prompt = f"You are now {persona}. Answer as they would."
            message = [{"role": "system", "content": persona_prompt}]
        elif system:
            message = [{"role": "system", "content": system}]
    return message
"""
FORK_CODE = """

def open_character_llama3_instruct_chat_gen(input_prompt, persona=None):
    connection = BaseModelConnection()
    if persona:
        sys_prompt = "You play somebody.\\n\\n"
        sys_prompt += f"# Persona\\n{persona}\\n\\n"
        sys_prompt += "Stay in the role. "
        sys_prompt += "Don\\'t harm anybody."
    else:
        sys_prompt = "You help."
    return sys_prompt
"""


def questions_for(persona: str, count: int = 10) -> dict[str, list[str]]:
    """Return the questions for a persona, in the order of PersonaGym's files."""
    order = ["Expected Action", "Toxicity", "Linguistic Habits", "Persona Consistency", "Action Justification"]
    return {task: [f"{TASKS[task]} {n}: what would {persona} do?" for n in range(count)] for task in order}


def write_checkout(folder: Path, *, fork: bool = True, light: bool = False, full: bool = True, count: int = 10) -> Path:
    """Write a checkout and return its folder.

    Args:
        folder: where.
        fork: whether it is OpenCharacter's fork, which has one file and one function more.
        light: whether it has the Light set.
        full: whether it has the whole set.
        count: questions per task of the whole set.
    """
    files = {
        "code/personas.py": f"# of our own\nbenchmark_personas = {list(PERSONAS)!r}\n",
        "code/utils.py": CODE + (FORK_CODE if fork else ""),
        "prompts/rubric_grading/sys_prompt.txt": SYSTEM,
        "prompts/rubric_grading/prompt.txt": OUTLINE,
        "prompts/score_examples/prompt.txt": EXAMPLE,
        "prompts/score_examples/parallel_examples.txt": SEVERAL,
    }
    if fork:
        files["prompts/score_examples/examples.txt"] = EXAMPLES_HEAD + EXAMPLES_TAIL
    files |= {f"rubrics/{task}.txt": RUBRIC.format(task=task) for task in TASKS}
    sets = [(OFFICIAL, count)] * full + [(OFFICIAL + LIGHT_SUFFIX, 1)] * light
    for name, number in sets:
        files |= {f"questions/{name}/{one}.json": json.dumps(questions_for(one, number)) for one in PERSONAS}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
