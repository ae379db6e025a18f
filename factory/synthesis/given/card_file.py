"""Files of character cards: JSON, and PNG with a card in a tEXt chunk.

A V3 card is the chunk `ccv3`, a V2 card `chara`; both are JSON in base64. Cards come from strangers, so the sizes of
file, chunk and card are bounded, pixels are never decoded, and compressed chunks are not read.
"""

import base64
import io
import json
import os
import struct
from collections.abc import Collection, Iterator
from typing import Any

from factory.synthesis.input_files import read_rows
from factory.synthesis.input_formats import RawRow, detail
from factory.synthesis.json_file import json_value
from factory.synthesis.opening import opened, suffixes

PNG = ".png"
V3_CHUNK, V2_CHUNK = b"ccv3", b"chara"
CARD_BYTES = 4 * 2**20
"""The maximum size of a card as JSON; those with large lorebooks have some hundred kB."""
CHUNK_BYTES = CARD_BYTES * 4 // 3 + 16
"""The maximum size of a chunk with a card: in base64, with its keyword."""
FILE_BYTES = 64 * 2**20
MAX_CHUNKS = 20_000
"""A picture of the maximum size in chunks of 8 kB has half as many."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TILE = (256, 384)
"""Width and height in pixels of the picture of a card that has none."""


class BadCardError(ValueError):
    """A file that holds no readable card; the message says why, on one line."""


def profile_rows(file: str | os.PathLike[str], columns: Collection[str] | None) -> Iterator[RawRow]:
    """Yield the rows of a file of profiles: one for a PNG or a JSON file with one object, else as `read_rows`.

    Raises:
        InputError: as `read_rows` does.
    """
    suffix, _ = suffixes(os.fspath(file), (PNG,))
    if suffix == PNG:
        yield _png_row(file)
    elif suffix == ".json" and (row := _single_object(file)):
        yield row
    else:
        yield from read_rows(file, columns)


def _png_row(file: str | os.PathLike[str]) -> RawRow:
    try:
        with opened(file, (PNG,)) as data:
            return RawRow(0, read_png(data))
    except (BadCardError, RecursionError) as problem:
        return RawRow(0, None, "invalid_card", str(problem))


def _single_object(file: str | os.PathLike[str]) -> RawRow | None:
    """Return the row of a file that holds one JSON object over several lines, or None where its lines are rows."""
    with opened(file) as data:
        head = data.read(CARD_BYTES + 1)
    text = head.decode("utf-8-sig", "surrogateescape").lstrip()
    first = text.partition("\n")[0]
    if not text.startswith("{") or _is_json(first):
        return None
    if len(head) > CARD_BYTES:
        return RawRow(0, None, "invalid_card", f"larger than {CARD_BYTES:,} bytes")
    try:
        head.decode()
        return RawRow(0, json_value(text))
    except UnicodeDecodeError:
        return RawRow(0, None, "not_utf8", detail("line 1", first))
    except (ValueError, RecursionError) as problem:
        return RawRow(0, None, "invalid_json", detail("line 1", first, problem))


def _is_json(line: str) -> bool:
    try:
        json_value(line)
    except (ValueError, RecursionError):
        return False
    return True


def read_png(file: io.BufferedIOBase) -> dict[str, Any]:
    """Return the card in a PNG: that of V3 if it has one, else that of V2.

    Raises:
        BadCardError: the file is no PNG, has no card, or the card is too large or not base64 of a JSON object.
    """
    chunks = _card_chunks(file)
    name, encoded = next(((name, chunks[name]) for name in (V3_CHUNK, V2_CHUNK) if name in chunks), (b"", b""))
    if not name:
        raise BadCardError("has no character card: neither a chunk ccv3 nor a chunk chara")
    try:
        text = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise BadCardError(f"chunk {name.decode()}: is not base64") from None
    try:
        card = json_value(text.decode())
    except (ValueError, RecursionError):
        raise BadCardError(f"chunk {name.decode()}: is not JSON in UTF-8, or has a key twice") from None
    if not isinstance(card, dict):
        raise BadCardError(f"chunk {name.decode()}: is not a JSON object")
    return card


def _card_chunks(file: io.BufferedIOBase) -> dict[bytes, bytes]:
    from PIL.PngImagePlugin import ChunkStream

    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise BadCardError("is not a PNG file")
    found: dict[bytes, bytes] = {}
    stream = ChunkStream(file)  # type: ignore[arg-type]
    try:
        for _ in range(MAX_CHUNKS):
            kind, start, length = stream.read()
            if kind == b"IEND":
                return found
            if start + length > FILE_BYTES:
                raise BadCardError(f"is larger than {FILE_BYTES:,} bytes")
            if kind == b"tEXt" and length > CHUNK_BYTES:
                raise BadCardError(f"a text chunk has {length:,} bytes; the maximum is {CHUNK_BYTES:,}")
            if kind == b"tEXt":
                text = file.read(length)
                stream.crc(kind, text)
                keyword, _, value = text.partition(b"\0")
                if keyword in (V3_CHUNK, V2_CHUNK):
                    found[keyword] = value
            else:
                file.seek(start + length + 4)  # over the checksum
    except (SyntaxError, struct.error) as problem:  # what Pillow raises
        raise BadCardError(f"is damaged ({' '.join(str(problem).split())[:200]})") from None
    raise BadCardError(f"has more than {MAX_CHUNKS:,} chunks")


def write_png(v3: dict[str, Any], v2: dict[str, Any], color: tuple[int, int, int]) -> bytes:
    """Return a PNG with a card in both chunks; the picture is a tile of one color, as a profile has no picture."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for name, card in ((V2_CHUNK, v2), (V3_CHUNK, v3)):
        chunks.add_text(name, base64.b64encode(to_json(card)))
    file = io.BytesIO()
    Image.new("RGB", TILE, color).save(file, "png", pnginfo=chunks)
    return file.getvalue()


def to_json(card: dict[str, Any]) -> bytes:
    """Return a card as JSON in UTF-8."""
    return json.dumps(card, ensure_ascii=False, indent=2).encode()
