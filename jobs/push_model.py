"""`character-factory push-model` as a script, for `ray job submit`."""

from factory.cli import main

if __name__ == "__main__":
    main("push-model")
