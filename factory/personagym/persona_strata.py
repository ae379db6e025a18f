"""The strata of a benchmark's personas, such as their disposition or language: `strata.json`, a file it may have."""

from collections.abc import Collection

from factory.errors import InputError
from factory.storage import file_io
from factory.text.normalize import clean_line

STRATA_JSON = "strata.json"
"""An object: a persona's sentence to an object of its strata, `{"A baker in Lagos.": {"disposition": "immoral"}}`."""

Strata = dict[str, dict[str, str]]
"""By persona: its value of each trait."""


def read_strata(folder: str, personas: Collection[str]) -> Strata:
    """Read the strata of a benchmark's personas; empty where it has no file of them.

    Raises:
        InputError: the file has another format, or names a persona that the benchmark has not.
    """
    path = file_io.join(folder, STRATA_JSON)
    if not file_io.exists(path):
        return {}
    document = file_io.read_document(path)
    if document is None:
        raise InputError(f"benchmark {path}: is not an object of personas with their strata; write it, or remove it")
    known, strata = set(personas), Strata()
    for raw, values in document.items():
        persona = clean_line(raw)
        if not isinstance(persona, str) or persona not in known:
            raise InputError(f"benchmark {path}: {raw[:120]!r} is no persona of this benchmark; remove it")
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise InputError(f"benchmark {path}: {raw[:120]!r} has no object of texts; write {{trait: value}}")
        strata[persona] = values
    return strata
