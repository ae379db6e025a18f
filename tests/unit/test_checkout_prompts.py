"""The prompts of a checkout: those in its files, and those in its code, which is read and never run."""

import pytest

from factory.errors import InputError
from factory.personagym import fill_slots, read_checkout_prompts, read_role_prompt
from tests import made_checkout as made


@pytest.mark.parametrize("fork", [True, False])
def test_upstreams_checkout_gives_the_same_prompts_as_the_fork(tmp_path, fork):
    prompts = read_checkout_prompts(str(made.write_checkout(tmp_path, fork=fork)))
    assert (prompts.judge_system, prompts.judge_outline, prompts.example) == (made.SYSTEM, made.OUTLINE, made.EXAMPLE)
    assert prompts.examples_outline == made.EXAMPLES_HEAD + made.EXAMPLES_TAIL


def test_role_prompts_come_out_of_the_code(tmp_path):
    folder = str(made.write_checkout(tmp_path))
    assert read_role_prompt(folder, "api") == made.API_PROMPT
    assert read_role_prompt(folder, "tuned") == made.TUNED_PROMPT


@pytest.mark.parametrize(
    ("code", "route", "message"),
    [
        (None, "tuned", "has no sys_prompt with the persona in open_character_llama3_instruct_chat_gen"),
        ("def openai_chat_gen(:", "api", "is not Python"),
        ("def other(): pass", "api", "has no persona_prompt with the persona in openai_chat_gen"),
        ("def openai_chat_gen(persona):\n if persona:\n  persona_prompt = 'Hello'", "api", "has no persona_prompt"),
        ("(" * 5_000, "api", "is not Python"),
    ],
)
def test_code_without_the_prompt_says_how_to_give_it(tmp_path, code, route, message):
    folder = made.write_checkout(tmp_path, fork=False)
    if code:
        (folder / "code" / "utils.py").write_text(code)
    with pytest.raises(
        InputError, match=rf"utils\.py: {message}.*give the text in evaluation\.parity_prompts"
    ) as error:
        read_role_prompt(str(folder), route)
    assert "\n" not in str(error.value)


def test_folder_without_code_says_how_to_give_the_prompt(tmp_path):
    with pytest.raises(
        InputError, match=r"utils\.py: no such file, .*; give the text in evaluation\.parity_prompts\.api"
    ):
        read_role_prompt(str(tmp_path), "api")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rubric_grading/prompt.txt", "Grade.", "needs the slot {rubrics} once"),
        ("rubric_grading/prompt.txt", None, "no such file"),
        ("rubric_grading/sys_prompt.txt", None, "no such file"),
        ("score_examples/prompt.txt", "{persona} {question}", "needs the slot {rubric} once"),
        ("score_examples/parallel_examples.txt", "Rubrics:\n{rubrics}", "has no part 'Rubric 2 Examples'"),
    ],
)
def test_incomplete_prompts_are_refused_by_file(tmp_path, name, text, message):
    path = made.write_checkout(tmp_path, fork=False) / "prompts" / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=f"{path.name}: .*{message}"):
        read_checkout_prompts(str(tmp_path))


def test_line_ends_are_those_of_any_checkout(tmp_path):
    path = made.write_checkout(tmp_path) / "prompts" / "rubric_grading" / "sys_prompt.txt"
    path.write_bytes(made.SYSTEM.replace("\n", "\r\n").encode())
    assert read_checkout_prompts(str(tmp_path)).judge_system == made.SYSTEM


def test_slots_and_braces_in_data_stay_text():
    filled = fill_slots("{a} {persona}|{question} {}", persona="{question} {0}\\1", question="{persona}")
    assert filled == "{a} {question} {0}\\1|{persona} {}"
