"""Messages of a page to its user."""

from html import escape


def status_note(text: str) -> str:
    """Return a message as HTML that screen readers announce."""
    return f'<p role="status">{escape(text)}</p>'
