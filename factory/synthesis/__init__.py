"""Personas in, profiles and character-driven dialogues out.

    sources       any file to raw rows
    personas      a raw row to a Persona
    instructions  a raw row to an Instruction
    profiles      a Persona to a Profile
    assignment    which characters speak to which instruction
    dialogues     an Assignment to a Dialogue, generated (G) or rewritten (R)

These are pure. `intake`, `pairing` and `steps` move their rows through Ray.
"""
