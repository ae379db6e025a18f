"""What a run will take, before it runs: calls, tokens, hours, money, storage, and where it stops to scale.

    config ──outline──► stages and phases ──┐
    a pilot's tables ──pilot──► samples ────┼──estimate──► intervals ──► tables, JSON
    prices ─────────────────────────────────┘     └──simulate──► 1 to 1,000 GPUs

Only `outline` looks at inputs and models; the rest is arithmetic.
"""
