"""Exports of dialogues: files in the shapes that other tools read, a data set card, the Hugging Face Hub."""
