"""The playground: a page on which people create a character, talk to it and rate its replies.

browser ──► page (gradio, in the job's process) ──► Ray Serve: the models, OpenAI-compatible ◄── programs
                                                └─► Ray Serve: the vote writer ──► <output>/feedback
"""
