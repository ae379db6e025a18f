"""Amounts as people read them."""

LEAST = 0.0001


def dollars(amount: float) -> str:
    """Format US dollars; `unknown` for what is no number."""
    if amount != amount:
        return "unknown"
    if 0 < amount < LEAST:
        return f"less than {LEAST} USD"
    return f"{amount:,.2f} USD" if amount >= 1 or not amount else f"{amount:.4f} USD"
