"""Text generation: engines, prompts and chat templates, and the step that fills a table through an engine."""
