"""Failures of a run. A failed row is never one of these: it is a `records.Reject` in a table.

FactoryError              the run stops; exit status 1 unless below
├── UserError             user error (fixable); one line, exit status 2
│   ├── ConfigError       a key, a value or a type in the config
│   ├── InputError        a file of personas or instructions
│   ├── PromptError       a file in prompts/
│   ├── ModelError        weights, a tokenizer or an endpoint is not available
│   ├── UnreachableError  a remote service does not answer: a dry run notes it and continues
│   └── StorageError      a path that cannot be read or written, a bucket, credentials, a full disk
│       └── DamagedError  a file of a run whose content is no longer what was written
├── Stopped               the run stopped on request (SIGTERM), after it wrote the work in flight
├── TrainingError         training cannot continue: a loss that is not a number, workers that died repeatedly
└── TableError            a table that contradicts its own counts: a bug
"""

_DAMAGED = ": is damaged ("


class FactoryError(Exception):
    """A failure of a run. The message is one line: the field or file, the value, and what to do."""


class UserError(FactoryError):
    """A failure that the user can fix."""


class ConfigError(UserError):
    """The config is wrong."""


class InputError(UserError):
    """An input file is missing or cannot be read at all."""


class PromptError(UserError):
    """A prompt file is wrong."""


class ModelError(UserError):
    """A model or an endpoint is not available."""


class UnreachableError(UserError):
    """A remote service does not answer, so it cannot be checked."""


class StorageError(UserError):
    """A path cannot be read or written."""


class DamagedError(StorageError):
    """A file is no longer what was written, after a loss of power or a change by hand."""

    @classmethod
    def of(cls, path: str, problem: Exception) -> "DamagedError":
        """Build the error from the file and what is wrong with it."""
        return cls(f"{path}{_DAMAGED}{' '.join(str(problem).split())[:200]})")

    @property
    def path(self) -> str:
        """The file, parsed from the message: Ray tasks return nothing else of an exception."""
        return str(self).partition(_DAMAGED)[0]


class Stopped(FactoryError):  # noqa: N818
    """The run stopped on request; the same command resumes it."""


class TrainingError(FactoryError):
    """Training cannot continue; the last good checkpoint is kept."""


class TableError(FactoryError):
    """The rows of a table differ from its counts."""
