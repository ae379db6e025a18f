"""The key results of a run, first on the page: did training help, which model leads, what was kept, what it cost.

A result that is not available has the command that produces it, and no number.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.evaluation.scoring.scores_schema import MEAN
from factory.run_output import layout
from factory.run_output.layout import kind_of

TOP_REASONS = 3
"""How many reject reasons are named."""


def key_results(
    scores: Mapping[str, Any],
    gain: Mapping[str, Any] | None,
    rows: Sequence[Mapping[str, Any]],
    costs: Mapping[str, Any],
    own: Sequence[str],
    command: Callable[[str], str],
) -> list[dict[str, Any]]:
    """Return the key results in the order of the page.

    Args:
        scores: the shown scores; empty if there are none.
        gain: the change of the validation loss; None if it was not measured.
        rows: the table rows of the run.
        costs: the costs of the run; empty if no model was used.
        own: the names of the candidates that are the model that the run trained.
        command: returns the command line of a step.

    Returns:
        For each `title`, `value`, `detail`, `tone` (good, bad or empty), `command` (empty if nothing is missing) and
        `interval` ([low, value, high] of a difference, or None).
    """
    trained = any(kind_of(row["table"]) is layout.CHECKPOINTS and row["finished"] for row in rows)
    return [
        _training_result(scores, gain or {}, trained, own, command),
        _leader(scores, command),
        _kept_share(rows, command),
        _cost(costs),
    ]


def _result(
    title: str, value: str, detail: str, tone: str = "", command: str = "", interval: list[float] | None = None
) -> dict[str, Any]:
    return {"title": title, "value": value, "detail": detail, "tone": tone, "command": command, "interval": interval}


def _training_result(
    scores: Mapping[str, Any],
    gain: Mapping[str, Any],
    trained: bool,
    own: Sequence[str],
    command: Callable[[str], str],
) -> dict[str, Any]:
    title = "Did training help?"
    compared = _own_comparison(scores, own)
    if compared:
        name, other, result = compared
        low, change, high = result["low"], result["difference"], result["high"]
        value, tone = _VERDICTS[result["verdict"]]
        value += f": PScore {change:+.2f}"
        detail = (
            f"{name} against {other}: {change:+.2f}{_interval(low, high, 2)}, "
            f"over {result['personas']:,} personas, {_judged_by(scores)}.{_loss_sentence(gain)}"
        )
        interval = None if low is None or high is None else [low, change, high]
        return _result(title, value, detail, tone, interval=interval)
    if isinstance(gain.get("before"), (int, float)):
        # A lower loss is better.
        value, tone = _verdict(-gain["change"], bool(gain.get("significant")))
        detail = f"By the validation loss only.{_loss_sentence(gain)} The model is not evaluated yet."
        return _result(title, value, detail, tone, command("evaluate"))
    if trained:
        return _result(title, "Not measured", "The model is trained, but not evaluated yet.", "", command("evaluate"))
    return _result(title, "Not trained yet", "There is no trained model.", "", command("train"))


_VERDICTS = {
    "higher": ("Yes", "good"),
    "lower": ("No, worse", "bad"),
    "no_difference_shown": ("No change shown", ""),
    "too_few": ("Too few personas to say", ""),
    "depends_on_unscored": ("It depends on the unscored answers", ""),
    "blank": ("Too many unscored answers", ""),
}
"""In words and as a tone, by the verdict of a comparison."""
_SWAPPED = {"higher": "lower", "lower": "higher"}


def _verdict(change: float, significant: bool) -> tuple[str, str]:
    if not significant:
        return "No significant change", ""
    return ("Yes", "good") if change > 0 else ("No, worse", "bad")


def _own_comparison(scores: Mapping[str, Any], own: Sequence[str]) -> tuple[str, str, Mapping[str, Any]] | None:
    """Return the trained model, the model that it is compared with, and their PScore difference (trained - other)."""
    for comparison in scores.get("comparisons", []):
        pair, result = (comparison["a"], comparison["b"]), comparison["results"][-1]
        if result["difference"] is None:
            continue
        if pair[0] in own and pair[1] not in own:
            return *pair, result
        if pair[1] in own and pair[0] not in own:
            low, high = (None if result[end] is None else -result[end] for end in ("high", "low"))
            verdict = _SWAPPED.get(result["verdict"], result["verdict"])
            swapped = {"difference": -result["difference"], "low": low, "high": high, "verdict": verdict}
            return pair[1], pair[0], {**result, **swapped}
    return None


def _first_judge(scores: Mapping[str, Any]) -> str | None:
    return next((judge for one in scores.get("candidates", []) for judge in one["by"]), None)


def _judged_by(scores: Mapping[str, Any]) -> str:
    judge = _first_judge(scores)
    return f"mean of {len(scores['judges'])} judges" if judge == MEAN else f"by the judge {judge}"


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else f", 95 % interval {low:+.{digits}f} to {high:+.{digits}f}"


def _loss_sentence(gain: Mapping[str, Any]) -> str:
    if not isinstance(gain.get("before"), (int, float)):
        return ""
    return (
        f" Validation loss {gain['before']:.3f} before and {gain['after']:.3f} after"
        f"{_interval(gain.get('low'), gain.get('high'), 3).replace('interval', 'interval of the change')}, "
        f"over {gain['dialogues']:,} dialogues."
    )


def _leader(scores: Mapping[str, Any], command: Callable[[str], str]) -> dict[str, Any]:
    title, judge = "Which model leads?", _first_judge(scores)
    ranked = sorted(
        ((one["by"][judge]["cells"][-1], one) for one in scores.get("candidates", []) if judge in one["by"]),
        key=lambda item: -(item[0][0] if item[0][0] is not None else -1),
    )
    if not ranked or ranked[0][0][0] is None:
        return _result(title, "No scores yet", "The candidates are not scored.", "", command("evaluate"))
    (mean, _, low, high), best = ranked[0]
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    detail = f"PScore {mean:.2f}{interval} over {best['by'][judge]['personas']:,} personas, {_judged_by(scores)}."
    others = [f"{one['name']} {cell[0]:.2f}" for cell, one in ranked[1:] if cell[0] is not None]
    if others:
        detail += f" Then {', '.join(others[:TOP_REASONS])}."
        if best["rank"] and best["rank"][2] > 1:
            detail += f" The lead is not shown: its rank is between {best['rank'][1]} and {best['rank'][2]}."
    return _result(title, best["name"], detail)


def _kept_share(rows: Sequence[Mapping[str, Any]], command: Callable[[str], str]) -> dict[str, Any]:
    title = "How much was kept?"
    dialogues, curated = (
        [row for row in rows if kind_of(row["table"]) is kind] for kind in (layout.DIALOGUES, layout.CURATED)
    )
    kept = sum(row["ok"] or 0 for row in curated or dialogues)
    attempted = sum(row["rows"] or 0 for row in dialogues or curated)
    if not attempted:
        return _result(title, "No dialogues yet", "There are no tables of dialogues.", "", command("synthesize"))
    reasons = Counter[str]()
    for row in (*dialogues, *curated):
        reasons.update(row["rejected"])
    top = ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in reasons.most_common(TOP_REASONS))
    where = "are in the curated set" if curated else "were accepted"
    detail = f"{kept:,} of {attempted:,} dialogues {where}." + (f" Main reasons why not: {top}." if top else "")
    finished = bool(curated) and all(row["finished"] for row in curated)
    if not finished:
        detail += " Curation is not finished." if curated else " They are not curated yet."
    return _result(title, f"{100 * kept / attempted:.0f} %", detail, "", "" if finished else command("curate"))


def _cost(costs: Mapping[str, Any]) -> dict[str, Any]:
    title = "What did it cost?"
    if not costs:
        return _result(title, "Nothing to price", "No table used an endpoint or a GPU.")
    unpriced = f"Parts without a price: {costs['open']} of {len(costs['rows'])}"
    if costs["total"] is None:
        reasons = dict.fromkeys(row["why"] for row in costs["rows"] if row["why"])
        return _result(title, "Not priced", f"{unpriced}: {'; '.join(reasons)}.")
    detail = f"Endpoints by their token prices, GPUs by the price table of {costs['date']}." + (
        f" {unpriced}." if costs["open"] else ""
    )
    return _result(title, f"{costs['total']:,.2f} {costs['currency']}", detail)
