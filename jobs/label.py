"""`character-factory label` as a script, for `ray job submit`."""

from factory.cli import main

if __name__ == "__main__":
    main("label")
