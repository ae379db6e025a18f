"""Synthesis: personas and instructions to profiles and character-driven dialogues.

    input_files   user files to raw rows
    personas      a raw row to a Persona
    instructions  a raw row to an Instruction
    profiles      a Persona to a Profile
    assignment    which characters answer which instruction
    dialogues     an Assignment to a Dialogue, generated (G) or rewritten (R)

These need no Ray. `ingest`, `assign_step` and `steps` move their rows through Ray.
"""
