"""How ``generate`` shows what was written: as text while it comes, as JSON, or a file of prompts as JSON lines."""

from __future__ import annotations

import json
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from glassgpt.cli.options import console, finite, printable, progress

if TYPE_CHECKING:
    from glassgpt.generation.prompt_file import Line
    from glassgpt.generation.text import LanguageModel
    from glassgpt.generation.writer import Completion, Writer


def show(writer: Writer, completion: Completion, precision: str) -> None:
    """Prints prompt and text on stdout while it is written, then on stderr how it ended and how to repeat it."""
    from rich.text import Text

    out = sys.stdout
    if out.isatty():
        console().print(Text(shown(completion.prompt), style="bold"), end="", soft_wrap=True)
    else:
        out.write(completion.prompt)  # as it is: rich would write out tabs and take :x: for a picture
    while not writer.is_idle:
        out.write(shown("".join(piece.text for piece in writer.step())))
        out.flush()
    out.write("\n")
    out.flush()
    ends = {"length": "", "stop": ", the text ended", "context": ", the context is full: --overflow slide goes on"}
    tally = writer.tally
    guesses = "" if tally is None else f", {tally.accepted} of {tally.proposed} guesses right in {tally.passes} passes"
    end = f"{ends[completion.finish_reason]}, {precision}{guesses}"
    console(stderr=True).print(f"[dim]{len(completion.tokens)} tokens, seed {completion.seed}{end}[/]", soft_wrap=True)


def finish(writer: Writer, most: int) -> None:
    """Writes to the end what takes at most as many tokens, and shows on stderr how far it is."""
    done = 0
    with progress("writing", most) as update:
        while not writer.is_idle:
            done += len(writer.step())
            update(done, f"{done:,} tokens")


def show_all(completions: list[Completion]) -> None:
    """Prints several continuations of one prompt, with a line between them."""
    print("\n---\n".join(shown(completion.prompt + completion.text) for completion in completions))
    console(stderr=True).print(f"[dim]{len(completions)} samples, seed {completions[0].seed}[/]")


def shown(text: str) -> str:
    """The text, on a terminal without what could steer it."""
    return printable(text) if sys.stdout.isatty() else text


def as_json(gpt: LanguageModel, completion: Completion) -> dict[str, Any]:
    """A completion with everything that is known of it."""

    def text(id: int) -> str:
        return gpt.tokenizer.decode([id])

    return {
        "prompt": completion.prompt,
        "text": completion.text,
        "seed": completion.seed,
        "choice": completion.choice,
        "finish_reason": completion.finish_reason,
        "num_tokens": len(completion.tokens),
        "tokens": [
            {
                "id": token.id,
                "text": text(token.id),
                "logprob": token.logprob,
                "top": [{"id": id, "text": text(id), "logprob": logprob} for id, logprob in token.top.items()],
            }
            for token in completion.tokens
        ],
    }


def print_lines(gpt: LanguageModel, lines: list[Line], seed: int, in_order: bool, with_tokens: bool) -> None:
    """Continues the prompts of a file together and prints a line of JSON for each completion as soon as it is due.

    Nothing is written before every prompt was found possible. ``seed`` is for lines that have none of their own.
    """
    from glassgpt.generation.engine import NUM_ROWS

    writer = gpt.writer(num_rows=min(NUM_ROWS, sum(line.n for line in lines)))
    numbers: dict[Completion, int] = {}
    for line in lines:
        for choice in range(line.n):
            try:
                completion = writer.add(line.prompt, line.params, seed if line.seed is None else line.seed, choice)
            except ValueError as error:
                raise ValueError(f"{line.place}: {error}") from None
            numbers[completion] = line.number
    waiting, num_tokens = list(numbers), 0
    with progress(f"continuing {len(lines):,} prompts", len(numbers)) as update:
        while waiting:
            for completion in due(waiting, in_order):
                waiting.remove(completion)
                row = {"line": numbers[completion], **as_json(gpt, completion)}
                if not with_tokens:
                    del row["tokens"]
                print(json.dumps(finite(row), allow_nan=False), flush=True)
            num_tokens += len(writer.step())
            update(len(numbers) - len(waiting), f"{num_tokens:,} tokens")


def due(completions: list[Completion], in_order: bool) -> list[Completion]:
    """Those that may be shown: all finished ones, or in order, none before the ones ahead of it."""
    if in_order:
        return list(takewhile(lambda completion: completion.finish_reason, completions))
    return [completion for completion in completions if completion.finish_reason]
