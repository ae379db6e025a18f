"""What people look at and hand on: exports of the dialogues."""
