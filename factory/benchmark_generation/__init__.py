"""A new PersonaGym benchmark out of personas: settings, then questions for each task, then the benchmark's folder."""
