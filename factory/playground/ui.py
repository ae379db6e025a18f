"""The page: a persona to a profile that can be changed, and a conversation with each model beside the others."""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from factory.playground.conversation import Conversation, exported
from factory.playground.profile_form import LONG, items_of, longest
from factory.playground.session_controller import Session, Stage
from factory.serving.request_guard import client_network
from factory.synthesis.profiles import LABELS

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="stone",
    font=["system-ui", "sans-serif"],  # gradio's own would be fetched from Google
    font_mono=["ui-monospace", "monospace"],
).set(  # darker than gradio's, which is hard to read
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    body_text_color_subdued="*neutral_600",
    block_title_text_color="*neutral_700",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
)
STYLE = (Path(__file__).parent / "page.css").read_text()
SAVE = """(text) => {
  if (!text) return [];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "conversation.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return [];
}"""
EXAMPLE = "a lock keeper on a quiet canal who knows every boat by the sound of its engine"


def page(stage: Stage) -> gr.Blocks:
    """The page of a stage."""
    blocks = gr.Blocks(title="Character playground", analytics_enabled=False)
    with blocks:
        session, conversation = gr.State(Session()), gr.State(None)
        gr.HTML(_heading(stage), elem_id="heading")
        persona = gr.Textbox(
            label="Who is the character? One sentence.",
            placeholder=EXAMPLE,
            lines=1,
            max_lines=6,
            max_length=stage.config.chat.persona_characters,
            elem_id="persona",
        )
        describe = gr.Button("Write the profile", variant="primary", elem_id="describe")
        note = gr.HTML(_note(""), elem_id="note", elem_classes="note", padding=False)
        with gr.Accordion("Profile", open=True, visible=False, elem_id="profile") as form:
            items = _items()
            begin = gr.Button("Talk to this character", variant="primary", elem_id="begin")
        with gr.Column(visible=False, elem_id="talk") as talk:
            with gr.Row():
                chats = {name: _chat(name) for name in stage.speakers}
            message = gr.Textbox(
                label="Your message",
                show_label=False,
                placeholder="Say something",
                lines=1,
                max_lines=8,
                max_length=stage.config.chat.message_characters,
                submit_btn=True,
                elem_id="message",
            )
            talk_note = gr.HTML(_note(""), elem_id="talk-note", elem_classes="note", padding=False)
            save = gr.Button("Save the conversation", elem_id="save", size="sm")
            saved = gr.Textbox(visible="hidden", elem_id="saved")
        _wire_profile(stage, persona, items, describe, form, note)
        _wire_talk(
            stage, (persona, *items), (begin, message), (session, conversation), (form, talk, note, talk_note), chats
        )
        save.click(_saved, [conversation], [saved, talk_note], api_name="save").then(None, [saved], None, js=SAVE)
    blocks.queue(default_concurrency_limit=None)  # `limits` has ours
    return blocks


def _items() -> list[gr.Textbox]:
    """The form, in the order of `LABELS`."""
    made: dict[str, gr.Textbox] = {}
    with gr.Row():
        for name in (name for name in LABELS if name not in LONG):
            made[name] = gr.Textbox(label=LABELS[name], max_length=longest(name), elem_id=name, min_width=130)
    for name in LONG:
        made[name] = gr.Textbox(label=LABELS[name], max_length=longest(name), elem_id=name, lines=2, max_lines=8)
    return [made[name] for name in LABELS]


def _chat(name: str) -> gr.Chatbot:
    with gr.Column(min_width=300):
        gr.HTML(f"<h2>{escape(name)}</h2>", padding=False)
        return gr.Chatbot(
            label=name,
            show_label=False,
            elem_id=f"chat-{name}",
            height="50vh",
            render_markdown=False,
            sanitize_html=True,
            latex_delimiters=[],
            buttons=[],  # what a button copies would have its tags escaped
            feedback_options=("Like", "Dislike"),
            allow_file_downloads=False,
            placeholder="Say hello.",
        )


def _side(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages for gradio, which takes a text's tags for real even where it renders no Markdown."""
    return [{"role": message["role"], "content": escape(message["content"], quote=False)} for message in messages]


def _wire_profile(
    stage: Stage,
    persona: gr.Textbox,
    items: list[gr.Textbox],
    describe: gr.Button,
    form: gr.Accordion,
    note: gr.HTML,
) -> None:
    async def describing(text: str, request: gr.Request) -> list[Any]:
        profile, said = await stage.describe(text, _client(request))
        shown = items_of(profile) if profile else [gr.skip()] * len(items)
        # Without a profile the form opens all the same, so that one can write it oneself.
        return [*shown, gr.update(visible=True, open=True), _note(said)]

    gr.on(
        [describe.click, persona.submit],
        describing,
        [persona],
        [*items, form, note],
        api_name="describe",
        show_progress_on=[note],
        concurrency_limit=None,
    )


def _wire_talk(
    stage: Stage,
    written: tuple[gr.Textbox, ...],
    doing: tuple[gr.Button, gr.Textbox],
    states: tuple[gr.State, gr.State],
    places: tuple[gr.Accordion, gr.Column, gr.HTML, gr.HTML],
    chats: dict[str, gr.Chatbot],
) -> None:
    (begin, message), (session, conversation), (form, talk, note, talk_note) = doing, states, places

    def beginning(description: str, *profile: str) -> list[Any]:
        made, said = stage.begin(description, profile)
        if made is None:
            return [gr.skip(), gr.skip(), gr.skip(), _note(said), *([gr.skip()] * len(chats))]
        return [made, gr.update(open=False), gr.update(visible=True), _note(said), *([[]] * len(chats))]

    async def talking(
        text: str, had: Conversation | None, doing: Session, request: gr.Request
    ) -> AsyncIterator[list[Any]]:
        box: Any = ""  # emptied once, so that the next message can be written meanwhile
        async with aclosing(stage.talk(text, had, doing, _client(request))) as scenes:
            async for scene in scenes:
                if isinstance(scene, str):
                    yield [gr.skip(), gr.skip(), _note(scene), *([gr.skip()] * len(chats))]
                    return
                yield [scene.conversation, box, _note(scene.note), *(_side(scene.sides[name]) for name in chats)]
                box = gr.skip()

    sent = message.submit(
        talking,
        [message, conversation, session],
        [conversation, message, talk_note, *chats.values()],
        api_name="talk",
        show_progress="hidden",
        concurrency_limit=None,
    )
    begin.click(
        beginning,
        list(written),
        [conversation, form, talk, note, *chats.values()],
        api_name="begin",
        show_progress="hidden",
        cancels=[sent],
    )
    for name, chat in chats.items():
        chat.like(
            _voting(stage, name), [conversation], [talk_note], api_name=f"vote-{name}", show_progress="hidden",
            concurrency_limit=None, trigger_mode="multiple",
        )  # fmt: skip


def _voting(stage: Stage, name: str) -> Any:
    async def voting(had: Conversation | None, given: gr.LikeData) -> str:
        index = given.index if isinstance(given.index, int) else given.index[0]
        return _note(await stage.vote(had, name, index, given.liked))

    return voting


def _client(request: gr.Request) -> str:
    """Return what a request counts for: a session is a name that the client makes up."""
    return client_network(request.client.host)


def _saved(had: Conversation | None) -> tuple[str, str]:
    if had is None or not had.turns:
        return "", _note("There is nothing to save yet.")
    return exported(had), _note("")


def _heading(stage: Stage) -> str:
    who = "".join(
        f"<li><b>{escape(speaker.name)}</b> {escape(speaker.model)}</li>" for speaker in stage.speakers.values()
    )
    missing = f"<p>{escape(stage.note)}</p>" if stage.note else ""
    return f"<h1>Character playground</h1><ul>{who}</ul>{missing}"


def _note(text: str) -> str:
    return f'<p role="status">{escape(text)}</p>'
