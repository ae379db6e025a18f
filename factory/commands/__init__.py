"""The steps of the factory as commands: one module each, whose `run` reads the command line."""
