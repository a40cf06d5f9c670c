"""A vocabulary as the files of a Hugging Face model directory, written and read. Reading runs nothing it finds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import tokenizers
from pydantic import TypeAdapter, ValidationError
from tokenizers import AddedToken, decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from glassgpt.tokenizer.schema import Merge, TokenizerFile, Vocabulary
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.tokenizer.vocabulary import BYTES, ENDOFTEXT, LONGEST, merges, spell, unspell

PAIRS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # Hugging Face's older files; OpenAI's
LARGEST = 64 * 2**20  # bytes of a file that is read: room for 900,000 tokens
MAX_WORK = 2**26  # GPT-2's take 3 million
GPT2_MERGES = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"  # sha256 of OpenAI's vocab.bpe


def write(tokens: tuple[bytes, ...], context_length: int | None) -> dict[str, bytes]:
    """``tokenizer.json``, ``tokenizer_config.json`` and, for older readers, ``vocab.json`` and ``merges.txt``."""
    config = json.dumps(tokenizer_config(context_length), indent=2).encode()
    return {**vocabulary_files(tokens), "tokenizer_config.json": config}


def read(directory: Path) -> list[bytes]:
    """The tokens, without ``<|endoftext|>``, of a model directory, Hugging Face's or OpenAI's.

    Raises:
        FileNotFoundError: no ``tokenizer.json``, nor ``vocab.json`` with ``merges.txt``, nor OpenAI's two.
        ValueError: a file is damaged, or describes something else than GPT-2's kind of tokenizer.
    """
    if (path := directory / "tokenizer.json").is_file():
        file = parse(TokenizerFile, path)
        ids, pairs = file.model.vocab | {token.content: token.id for token in file.added_tokens}, file.model.merges
    elif found := [names for names in PAIRS if all((directory / name).is_file() for name in names)]:
        vocab, path = (directory / name for name in found[0])
        ids, pairs = parse(Vocabulary, vocab), parse(list[Merge], path)
    else:
        raise FileNotFoundError(f"{directory} has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")
    try:
        return tokens_of(ids, pairs)
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; expected ids for the 256 bytes in GPT-2's order, for what each merge makes in the order "
            f"of merges, then for {ENDOFTEXT}"
        ) from None


def tokens_of(ids: Vocabulary, pairs: list[tuple[str, str]]) -> list[bytes]:
    """The tokens that merges make, if ids and merges say the same; encoding follows the tokens alone.

    Raises:
        ValueError: they do not.
    """
    tokens = BYTES + [unspell(left) + unspell(right) for left, right in pairs]
    if len(ids) != len(tokens) + 1 or ids != vocabulary(tokens):
        raise ValueError("the ids do not follow the merges")
    if (longest := max(map(len, tokens))) > LONGEST:
        raise ValueError(f"a token has {longest} bytes, more than {LONGEST}")
    if (work := sum(len(token) ** 2 for token in tokens)) > MAX_WORK:
        raise ValueError(f"its tokens are so many and so long that checking their merges takes {work:,} steps")
    is_gpt2 = sha256(merges_text(pairs)).hexdigest() == GPT2_MERGES  # its merges take long to work out, and are right
    if not is_gpt2 and spelled_merges(tokens) != pairs:
        raise ValueError("a merge joins what earlier merges never leave side by side")
    return tokens


@lru_cache(maxsize=1)  # a second's work for GPT-2, and every checkpoint asks for it
def vocabulary_files(tokens: tuple[bytes, ...]) -> dict[str, bytes]:
    """The files that depend on the tokens alone."""
    ids, pairs = vocabulary(tokens), spelled_merges(tokens)
    return {
        "tokenizer.json": hugging_face(ids, pairs).to_str(pretty=True).encode(),
        "vocab.json": json.dumps(ids).encode(),
        "merges.txt": merges_text(pairs),
    }


def hugging_face(ids: Vocabulary, pairs: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    """The same tokenizer as an object of Hugging Face's library."""
    twin = tokenizers.Tokenizer(BPE(ids, pairs))
    twin.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    twin.decoder = decoders.ByteLevel()
    twin.post_processor = processors.ByteLevel(trim_offsets=False)
    twin.add_special_tokens([AddedToken(ENDOFTEXT, normalized=True)])
    return twin


def tokenizer_config(context_length: int | None) -> dict[str, Any]:
    """``tokenizer_config.json``; without ``model_max_length`` transformers allows any length."""
    limit = {} if context_length is None else {"model_max_length": context_length}
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), ENDOFTEXT)
    return {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **special, **limit}


def vocabulary(tokens: Sequence[bytes]) -> Vocabulary:
    """The id of every token by its spelling; as JSON, GPT-2's is OpenAI's ``encoder.json`` to the byte."""
    return {spell(token): id for id, token in enumerate(tokens)} | {ENDOFTEXT: len(tokens)}


def spelled_merges(tokens: Sequence[bytes]) -> list[tuple[str, str]]:
    """The merges of the tokens as files write them."""
    return [(spell(left), spell(right)) for left, right in merges(tokens)]


def merges_text(pairs: list[tuple[str, str]]) -> bytes:
    """The content of ``merges.txt``; GPT-2's is OpenAI's ``vocab.bpe`` to the byte."""
    return "".join(["#version: 0.2\n", *(f"{left} {right}\n" for left, right in pairs)]).encode()


def parse(kind: Any, path: Path) -> Any:
    """A file, JSON or lines of text, as a ``kind``, or a ValueError that names the first thing wrong with it."""
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path} has {size:,} bytes: expected a tokenizer's file of at most {LARGEST:,}")
    try:
        if path.suffix == ".json":
            return _adapter(kind).validate_python(read_json(path, LARGEST))
        lines = path.read_text(encoding="utf-8").splitlines()
        return _adapter(kind).validate_python([line for line in lines if line and not line.startswith("#version")])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{path} is no byte-level BPE as GPT-2 has it: {place}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's validator of a type, which takes longer to build than a small file to validate."""
    return TypeAdapter(kind)
