"""The page: a description becomes an editable profile, then a conversation with each model side by side."""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from factory.playground.character_buttons import character_buttons, connect_picks
from factory.playground.conversation import Conversation, export_json
from factory.playground.profile_form import LONG_FIELDS, form_values, max_length
from factory.playground.session_controller import PlaygroundController, Session
from factory.playground.status_note import status_note
from factory.serving.request_guard import client_network
from factory.synthesis.profiles import LABELS

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="stone",
    font=["system-ui", "sans-serif"],  # gradio's default fonts are loaded from Google
    font_mono=["ui-monospace", "monospace"],
).set(  # gradio's colors have too little contrast
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


def build_page(controller: PlaygroundController) -> gr.Blocks:
    """Build the page and connect its events to a controller."""
    blocks = gr.Blocks(title="Character playground", analytics_enabled=False)
    with blocks:
        session, conversation = gr.State(Session()), gr.State(None)
        gr.HTML(_heading(controller), elem_id="heading")
        with gr.Accordion("Talk to one of these", visible=bool(controller.characters), elem_id="characters") as cast:
            picks = character_buttons(controller.characters)
        persona = gr.Textbox(
            label=f"{'Or a new character' if picks else 'Who is the character'}? One sentence.",
            placeholder=EXAMPLE,
            lines=1,
            max_lines=6,
            max_length=controller.config.chat.persona_characters,
            elem_id="persona",
        )
        describe = gr.Button("Write the profile", variant="primary", elem_id="describe")
        note = gr.HTML(status_note(""), elem_id="note", elem_classes="note", padding=False)
        with gr.Accordion("Profile", open=True, visible=False, elem_id="profile") as form:
            fields = _profile_fields()
            begin = gr.Button("Talk to this character", variant="primary", elem_id="begin")
        with gr.Column(visible=False, elem_id="talk") as talk:
            with gr.Row():
                chats = {name: _chat(name) for name in controller.models}
            message = gr.Textbox(
                label="Your message",
                show_label=False,
                placeholder="Say something",
                lines=1,
                max_lines=8,
                max_length=controller.config.chat.message_characters,
                submit_btn=True,
                elem_id="message",
            )
            talk_note = gr.HTML(status_note(""), elem_id="talk-note", elem_classes="note", padding=False)
            save = gr.Button("Save the conversation", elem_id="save", size="sm")
            saved = gr.Textbox(visible="hidden", elem_id="saved")
        _connect_profile(controller, persona, fields, describe, form, note)
        _connect_chat(
            controller,
            (persona, *fields),
            (begin, message, picks),
            (session, conversation),
            (cast, form, talk, note, talk_note),
            chats,
        )
        save.click(_export, [conversation], [saved, talk_note], api_name="save").then(None, [saved], None, js=SAVE)
    blocks.queue(default_concurrency_limit=None)  # rate_limits.py limits requests
    return blocks


def _profile_fields() -> list[gr.Textbox]:
    """Build the form, and return its fields in the order of `LABELS`."""
    boxes: dict[str, gr.Textbox] = {}
    with gr.Row():
        for name in (name for name in LABELS if name not in LONG_FIELDS):
            boxes[name] = gr.Textbox(label=LABELS[name], max_length=max_length(name), elem_id=name, min_width=130)
    for name in LONG_FIELDS:
        boxes[name] = gr.Textbox(label=LABELS[name], max_length=max_length(name), elem_id=name, lines=2, max_lines=8)
    return [boxes[name] for name in LABELS]


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
            buttons=[],  # the copy button would copy escaped tags
            feedback_options=("Like", "Dislike"),
            allow_file_downloads=False,
            placeholder="Say hello.",
        )


def _escape_messages(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Escape tags in messages, which gradio interprets even with Markdown turned off."""
    return [{"role": message["role"], "content": escape(message["content"], quote=False)} for message in messages]


def _connect_profile(
    controller: PlaygroundController,
    persona: gr.Textbox,
    fields: list[gr.Textbox],
    describe: gr.Button,
    form: gr.Accordion,
    note: gr.HTML,
) -> None:
    async def on_describe(text: str, request: gr.Request) -> list[Any]:
        profile, status = await controller.describe(text, _client(request))
        values = form_values(profile) if profile else [gr.skip()] * len(fields)
        # The form opens even without a profile, so that users can write one.
        return [*values, gr.update(visible=True, open=True), status_note(status)]

    gr.on(
        [describe.click, persona.submit],
        on_describe,
        [persona],
        [*fields, form, note],
        api_name="describe",
        show_progress_on=[note],
        concurrency_limit=None,
    )


def _connect_chat(
    controller: PlaygroundController,
    inputs: tuple[gr.Textbox, ...],
    triggers: tuple[gr.Button, gr.Textbox, list[gr.Button]],
    states: tuple[gr.State, gr.State],
    outputs: tuple[gr.Accordion, gr.Accordion, gr.Column, gr.HTML, gr.HTML],
    chats: dict[str, gr.Chatbot],
) -> None:
    (begin, message, picks), (session, conversation), (cast, form, talk, note, talk_note) = triggers, states, outputs

    def on_begin(description: str, *profile: str) -> list[Any]:
        started, status = controller.begin(description, profile)
        if started is None:
            return [gr.skip(), gr.skip(), gr.skip(), status_note(status), *([gr.skip()] * len(chats))]
        return [started, gr.update(open=False), gr.update(visible=True), status_note(status), *([[]] * len(chats))]

    async def on_message(
        text: str, current: Conversation | None, state: Session, request: gr.Request
    ) -> AsyncIterator[list[Any]]:
        box: Any = ""  # cleared once, so that users can write the next message during the reply
        async with aclosing(controller.talk(text, current, state, _client(request))) as updates:
            async for update in updates:
                if isinstance(update, str):
                    yield [gr.skip(), gr.skip(), status_note(update), *([gr.skip()] * len(chats))]
                    return
                columns = (_escape_messages(update.columns[name]) for name in chats)
                yield [update.conversation, box, status_note(update.note), *columns]
                box = gr.skip()

    sent = message.submit(
        on_message,
        [message, conversation, session],
        [conversation, message, talk_note, *chats.values()],
        api_name="talk",
        show_progress="hidden",
        concurrency_limit=None,
    )
    begin.click(
        on_begin,
        list(inputs),
        [conversation, form, talk, note, *chats.values()],
        api_name="begin",
        show_progress="hidden",
        cancels=[sent],
    )
    connect_picks(controller, picks, [conversation, cast, form, talk, note, *chats.values()], list(inputs), sent)
    for name, chat in chats.items():
        chat.like(
            _vote_handler(controller, name), [conversation], [talk_note], api_name=f"vote-{name}",
            show_progress="hidden", concurrency_limit=None, trigger_mode="multiple",
        )  # fmt: skip


def _vote_handler(controller: PlaygroundController, name: str) -> Any:
    async def on_vote(conversation: Conversation | None, vote: gr.LikeData) -> str:
        index = vote.index if isinstance(vote.index, int) else vote.index[0]
        return status_note(await controller.vote(conversation, name, index, vote.liked))

    return on_vote


def _client(request: gr.Request) -> str:
    """Return the address that rate limits count by; session names are chosen by clients."""
    return client_network(request.client.host)


def _export(conversation: Conversation | None) -> tuple[str, str]:
    if conversation is None or not conversation.turns:
        return "", status_note("There is nothing to save yet.")
    return export_json(conversation), status_note("")


def _heading(controller: PlaygroundController) -> str:
    models = "".join(
        f"<li><b>{escape(model.name)}</b> {escape(model.model)}</li>" for model in controller.models.values()
    )
    note = f"<p>{escape(controller.note)}</p>" if controller.note else ""
    return f"<h1>Character playground</h1><ul>{models}</ul>{note}"
