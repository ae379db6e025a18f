"""The page of labels: one item at a time, with nothing that shows whose answer it is or what others think of it."""

from html import escape
from typing import Any

import gradio as gr

from factory.playground.label_controller import (
    MAX_COMMENT,
    MAX_NAME,
    PROFICIENCIES,
    SCORES,
    VERDICTS,
    LabelController,
    Rater,
)
from factory.playground.profile_form import FormError
from factory.playground.status_note import status_note

INTRODUCTION = (
    "A model was told to be a persona and was asked a question. You score how well its answer meets the criteria, and "
    "nothing else. Take the time that you need; you can stop at any time, and go on later under the same pseudonym."
)
CONSENT = (
    "I agree that my labels, the times at which I gave them and my pseudonym are stored and used to measure automatic "
    "judges. I can take this back at any time, and all of them are deleted."
)


def build_label_page(controller: LabelController) -> gr.Blocks:
    """Build the page and connect its events to a controller."""
    blocks = gr.Blocks(title="Score answers", analytics_enabled=False)
    with blocks:
        state = gr.State(None)
        gr.HTML(f"<h1>Score answers</h1><p>{INTRODUCTION}</p>", elem_id="heading")
        with gr.Column(elem_id="start") as begin:
            name = gr.Textbox(label="Your pseudonym", max_length=MAX_NAME, elem_id="rater")
            proficiency = gr.Radio(
                PROFICIENCIES, label="How well do you read the language of the answers?", elem_id="proficiency"
            )
            consent = gr.Checkbox(label=CONSENT, elem_id="consent")
            start = gr.Button("Begin", variant="primary", elem_id="begin")
        with gr.Column(visible=False, elem_id="work") as work:
            item = gr.HTML(elem_id="item")
            with gr.Row():
                answers, scores = [], []
                for number in (1, 2):
                    with gr.Column(min_width=300):
                        answers.append(gr.HTML(elem_id=f"answer-{number}"))
                        label = f"Your score of answer {number}"
                        scores.append(gr.Radio(SCORES, label=label, elem_id=f"score-{number}"))
            verdict = gr.Radio(list(VERDICTS), label="Which is better by the criteria?", elem_id="verdict")
            comment = gr.Textbox(label="If you cannot judge: why?", max_length=MAX_COMMENT, elem_id="comment")
            save = gr.Button("Save and go on", variant="primary", elem_id="save")
        note = gr.HTML(status_note(""), elem_id="note", elem_classes="note", padding=False)
        shown = [item, *answers, *scores, verdict, comment]

        def on_start(rater_name: str, language: str | None, agreed: bool) -> list[Any]:
            try:
                rater = controller.start(rater_name, language, agreed)
            except FormError as problem:
                return [gr.skip(), gr.skip(), gr.skip(), status_note(str(problem)), *([gr.skip()] * len(shown))]
            return [rater, gr.update(visible=False), *_view(controller, rater)]

        async def on_save(
            rater: Rater | None, first: str | None, second: str | None, better: str | None, why: str
        ) -> list[Any]:
            if rater is None:
                return [gr.skip(), gr.skip(), status_note("Load the page again."), *([gr.skip()] * len(shown))]
            try:
                await controller.save(rater, (first, second), better, why)
            except FormError as problem:
                return [rater, gr.skip(), status_note(str(problem)), *([gr.skip()] * len(shown))]
            return [rater, *_view(controller, rater)]

        def on_change(rater: Rater | None) -> None:
            if rater is not None:
                rater.changes += 1

        start.click(on_start, [name, proficiency, consent], [state, begin, work, note, *shown], api_name="begin")
        save.click(on_save, [state, *scores, verdict, comment], [state, work, note, *shown], api_name="save")
        for choice in (*scores, verdict):
            choice.input(on_change, [state], None, api_visibility="private", show_progress="hidden")
    blocks.queue(default_concurrency_limit=None)
    return blocks


def _view(controller: LabelController, rater: Rater) -> list[Any]:
    """Return the updates of the work area, the note and the item; choices are empty for each item."""
    shown, (given, left) = rater.shown, controller.progress(rater)
    if shown is None:
        return [
            gr.update(visible=False),
            status_note(f"All is done: {given:,} labels of yours. Thank you!"),
            *([gr.skip()] * 7),
        ]
    item = shown.item
    texts = [item.answers[number] for number in shown.order]
    is_pair = len(texts) > 1
    criteria = (
        f"<details open><summary>Criteria of {escape(item.task)}</summary><pre>{escape(item.criteria)}</pre></details>"
    )
    about = f"<p><b>Persona:</b> {escape(item.persona)}</p><p><b>Question:</b> {escape(item.question)}</p>"
    answers = [
        f"<h2>Answer {number}</h2><div class='answer'>{escape(text)}</div>" for number, text in enumerate(texts, 1)
    ]
    return [
        gr.update(visible=True),
        status_note(f"{given:,} labels saved, {left:,} to go."),
        criteria + about,
        answers[0],
        answers[1] if is_pair else "",
        gr.update(value=None),
        gr.update(value=None, visible=is_pair),
        gr.update(value=None, visible=is_pair),
        "",
    ]
