"""How many accepted rows each table of a run needs."""

from collections.abc import Mapping

from factory.config.accept import Accept
from factory.errors import ConfigError
from factory.storage.tables import MANY


def profiles_to_accept(accept: Accept, given: int) -> int | None:
    """Return how many profiles are needed; None for all.

    Raises:
        ConfigError: more are given.
    """
    if accept.profiles and accept.profiles < given < MANY:
        raise ConfigError(
            f"accept.profiles is {accept.profiles}, but profiles.source gives {given}; raise it, or set profiles.limit"
        )
    return accept.profiles


def dialogues_to_accept(accept: Accept, rows: Mapping[str, int]) -> dict[str, int | None]:
    """Return how many dialogues each table needs, by strategy and corpus; None for all.

    A number for the whole run is divided in proportion to the rows; what is left goes to the largest remainders.

    Args:
        accept: the settings.
        rows: of each table, by its strategy and corpus.
    """
    goal = accept.dialogues
    if goal is None or isinstance(goal, dict):
        return {name: (goal or {}).get(name) for name in rows}
    total = max(1, sum(rows.values()))
    shares: dict[str, int | None] = {name: goal * count // total for name, count in rows.items()}
    left = goal - sum(share or 0 for share in shares.values())
    for name in sorted(rows, key=lambda name: (-(goal * rows[name] % total), name))[:left]:
        shares[name] = (shares[name] or 0) + 1
    return shares


def accept_lines(accept: Accept) -> list[str]:
    """Return what a run is to give, in words; none without numbers."""
    named = accept.dialogues if isinstance(accept.dialogues, dict) else {"dialogues": accept.dialogues}
    goals = {"profiles": accept.profiles} | named
    needed = ", ".join(f"{number:,} {name}" for name, number in goals.items() if number)
    return (
        [f"Accept: {needed}. The plan has the most rows; the yield is unknown before the first wave"] if needed else []
    )
