"""The playground: a page on which people make a character, talk to it, and say what they think of its replies.

browser ──► page (gradio, in the job's process) ──► Ray Serve: the models, OpenAI-compatible ◄── programs
                                                └─► Ray Serve: the keeper of votes ──► <output>/feedback
"""
