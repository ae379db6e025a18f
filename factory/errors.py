"""Failures of a run. A row's failure is never one of these: it is a `records.Reject` in a table.

FactoryError            the run stops; exit status 1 unless below
├── UserError           the user can mend it; one line, exit status 2
│   ├── ConfigError     a key, a value or a type in the config
│   ├── InputError      a file of personas or instructions
│   ├── PromptError     a file in prompts/
│   ├── ModelError      weights, a tokenizer or an endpoint that cannot be had
│   ├── UnreachableError  a remote place that does not answer: a dry run notes it and goes on
│   └── StorageError    a path that cannot be read or written, a bucket, credentials, a full disk
│       └── DamagedError    a file of ours that is not what was written any more
├── Stopped             the run was asked to end (SIGTERM), wrote what was in flight, and did
├── TrainingError       training cannot go on: a loss that is not a number, workers that died again and again
└── TableError          a table that contradicts its own accounts: a defect of ours
"""

_DAMAGED = ": is damaged ("


class FactoryError(Exception):
    """A run's failure. The message is one line: the field or file, the value, and the way out."""


class UserError(FactoryError):
    """A failure that the user can mend."""


class ConfigError(UserError):
    """The config is wrong."""


class InputError(UserError):
    """An input file is missing or cannot be read at all."""


class PromptError(UserError):
    """A prompt file is wrong."""


class ModelError(UserError):
    """A model or an endpoint cannot be had."""


class UnreachableError(UserError):
    """A remote place does not answer from here, so nothing is known of it."""


class StorageError(UserError):
    """A path cannot be read or written."""


class DamagedError(StorageError):
    """A file of ours is not what was written any more, after a loss of power or by another's hand."""

    @classmethod
    def of(cls, path: str, problem: Exception) -> "DamagedError":
        """Name the file and what is wrong with it."""
        return cls(f"{path}{_DAMAGED}{' '.join(str(problem).split())[:200]})")

    @property
    def path(self) -> str:
        """The file; out of the message, which is all that Ray's tasks bring back."""
        return str(self).partition(_DAMAGED)[0]


class Stopped(FactoryError):  # noqa: N818
    """The run was asked to end, and did; the same command goes on."""


class TrainingError(FactoryError):
    """Training cannot go on; the last good checkpoint stays."""


class TableError(FactoryError):
    """A table holds other rows than its accounts say."""
