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
from glassgpt.tokenizer.vocabulary import BYTES, ENDOFTEXT, merges, spell, unspell

LARGEST = 16 * 2**20  # bytes of a file that is read; GPT-2's tokenizer.json has 3.6 million
GPT2_MERGES = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"  # sha256 of OpenAI's vocab.bpe


def write(tokens: tuple[bytes, ...], context_length: int | None) -> dict[str, bytes]:
    """``tokenizer.json``, ``tokenizer_config.json`` and, for older readers, ``vocab.json`` and ``merges.txt``."""
    config = json.dumps(tokenizer_config(context_length), indent=2).encode()
    return {**vocabulary_files(tokens), "tokenizer_config.json": config}


def read(directory: Path) -> list[bytes]:
    """The tokens, without ``<|endoftext|>``, of a model directory.

    Raises:
        FileNotFoundError: no ``tokenizer.json``, nor ``vocab.json`` with ``merges.txt``.
        ValueError: a file is damaged, or describes something else than GPT-2's kind of tokenizer.
    """
    if (path := directory / "tokenizer.json").is_file():
        model = parse(path, TokenizerFile, content(path)).model
        ids, pairs = model.vocab, model.merges
    elif (path := directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        ids = parse(path, Vocabulary, content(path))
        path = directory / "merges.txt"
        lines = [line for line in content(path).splitlines() if line and not line.startswith(b"#version")]
        pairs = parse(path, list[Merge], json.dumps([line.decode() for line in lines]).encode())
    else:
        raise FileNotFoundError(f"{directory} has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")

    expected = f"{path}: expected 256 bytes as GPT-2 orders them, a token a merge in their order, then {ENDOFTEXT}"
    try:
        tokens = BYTES + [unspell(left) + unspell(right) for left, right in pairs]
        # That GPT-2's merges follow from its tokens is known, and a second's work to find out.
        is_gpt2 = sha256(merges_text(pairs)).hexdigest() == GPT2_MERGES
        is_sound = is_gpt2 or pairs == spelled_merges(tokens)
    except ValueError as error:
        raise ValueError(f"{expected}; {error}") from None
    if ids != vocabulary(tokens) or not is_sound:
        raise ValueError(f"{expected}; its ids do not follow from its merges")
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


def content(path: Path) -> bytes:
    """The file, unless it is too large to be a tokenizer's."""
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path} has {size:,} bytes: expected a tokenizer file of at most {LARGEST:,}")
    return path.read_bytes()


def parse(path: Path, kind: Any, json_text: bytes) -> Any:
    """JSON as a ``kind``, or a ValueError that names the file and the first thing that is wrong with it."""
    try:
        return TypeAdapter(kind).validate_json(json_text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is not a byte-level BPE like GPT-2's: {place}: {first['msg']}") from None
