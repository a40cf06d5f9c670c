"""Prompts out of a file: one a line, or JSON lines that bring parameters of their own. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from glassgpt.generation.sampling import SamplingParams
from glassgpt.tokenizer.strict_json import parse_json
from glassgpt.weights.untrusted import naming

MAX_LINE = 2**24  # bytes


class Fields(SamplingParams):
    """What a JSON line may say; what it does not say is as for all lines."""

    prompt: str | list[int]
    seed: int | None = None
    n: int = Field(default=1, ge=1, le=10_000)


@dataclass(frozen=True)
class Line:
    """A prompt, as text or as ids, to be continued ``n`` times. ``place`` is file and line number, for messages."""

    number: int
    place: Path
    prompt: str | list[int]
    params: SamplingParams
    seed: int | None
    n: int


def read_prompts(path: Path, params: SamplingParams, seed: int | None = None, n: int = 1) -> list[Line]:
    """The prompts in a file; lines of a ``.jsonl`` file may change ``params``, ``seed`` and ``n`` for themselves.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is empty, too long, not UTF-8 or says what cannot be; names file and line. Or there is none.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    rows = content.removesuffix(b"\n").split(b"\n")
    if not content:
        raise ValueError(f"{path} is empty: write one prompt a line")
    is_json = path.suffix == ".jsonl"
    lines, shared = [], {"seed": seed, "n": n, **params.model_dump()}
    for number, row in enumerate(rows, 1):
        place = Path(f"{path}:{number}")
        with naming(place):
            text = decoded(row)
            own = objects(row) if is_json else {"prompt": text}
            fields = Fields.model_validate({**shared, **own})
            theirs = SamplingParams(**fields.model_dump(include=set(SamplingParams.model_fields)))
            # Equal parameters are one object: the engine samples such requests together.
            theirs = params if theirs == params else theirs
            lines.append(Line(number, place, fields.prompt, theirs, fields.seed, fields.n))
    return lines


def decoded(row: bytes) -> str:
    """The text of a line; ValueError with the reason where there is none."""
    if len(row) > MAX_LINE:
        raise ValueError(f"the line has {len(row):,} bytes, expected at most {MAX_LINE:,}")
    try:
        text = row.decode().removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("the line is not UTF-8 text: save the file as UTF-8") from None
    if not text.strip():
        raise ValueError('the line is empty: remove it; a .jsonl file may say {"prompt": ""}')
    return text


def objects(row: bytes) -> dict[str, object]:
    """The fields of a JSON line; ValueError where it is no object or has no prompt."""
    value = parse_json(row)
    if not isinstance(value, dict) or "prompt" not in value:
        raise ValueError('expected an object with a prompt, such as {"prompt": "Once", "temperature": 0.5}')
    return value
