"""``glassgpt generate``: text from a model, shown while it is written."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from glassgpt.cli.options import Precision, console, print_json
from glassgpt.cli.tokens import piped

if TYPE_CHECKING:
    from glassgpt.generation.text import LanguageModel
    from glassgpt.generation.writer import Completion, Writer


def generate(
    source: str,
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    max_new_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = 0.95,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: tuple[str, ...] = (),
    ignore_eot: bool = False,
    overflow: Literal["stop", "refuse", "slide", "crop"] = "stop",
    seed: int | None = None,
    logprobs: int = 0,
    precision: Precision | None = None,
    json: bool = False,
) -> None:
    """Continue a prompt, showing the text as it is written.

    Parameters
    ----------
    source
        A run, a model directory, a hub id, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
    prompt
        The text to continue. "-" reads standard input, and so does no prompt when something is piped in; "" starts from
        the end-of-text token.
    max_new_tokens
        How many tokens to write at most.
    temperature
        Below 1 bolder in likely words, 0 always the likeliest (greedy).
    top_k
        Chooses among this many likeliest tokens only.
    top_p
        Chooses among the fewest likeliest tokens that reach this probability together; 1 is all.
    min_p
        Leaves out tokens less likely than this share of the likeliest one.
    repetition_penalty
        Above 1 makes tokens that occurred less likely.
    stop
        Ends before this text appears; may be given several times.
    ignore_eot
        Goes on where the model would end the text.
    overflow
        Where the context is full: stop there, refuse beforehand, slide (re-read its last half) or crop (re-read all but
        its oldest token, for every token: slow).
    seed
        The same seed gives the same text; without one it is drawn and shown.
    logprobs
        With --json, this many likeliest alternatives at every position.
    precision
        The numbers that matrices are kept in: fewer bits are smaller and faster and write other text. By default those
        of a quantized directory, and float32 for any other model.
    json
        Prints the completion with its tokens and their logprobs instead.
    """
    if prompt is None or prompt == "-":
        prompt = piped().removesuffix("\n")
    params: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop,
        "stop_at_eot": not ignore_eot,
        "overflow": overflow,
        "num_top": logprobs,
    }
    with console(stderr=True).status(f"loading {source}"):
        from glassgpt.generation.sampling import SamplingParams
        from glassgpt.generation.text import LanguageModel

        checked = SamplingParams(**params)
        gpt = LanguageModel.load(source, precision)
        writer = gpt.writer(num_rows=1)
        completion = writer.add(prompt, checked, secrets.randbelow(2**32) if seed is None else seed)
    if json:
        while not writer.is_idle:
            writer.step()
        print_json(as_json(gpt, completion))
    else:
        show(writer, completion, gpt.precision)


def show(writer: Writer, completion: Completion, precision: str) -> None:
    """Prints prompt and text on stdout while it is written, then on stderr how it ended and how to repeat it."""
    out, is_terminal = sys.stdout, sys.stdout.isatty()
    console().print(completion.prompt, style="bold" if is_terminal else "", end="", markup=False, soft_wrap=True)
    while not writer.is_idle:
        out.write("".join(piece.text for piece in writer.step()))
        out.flush()
    out.write("\n")
    out.flush()
    ends = {"length": "", "stop": ", the text ended", "context": ", the context is full: --overflow slide goes on"}
    console(stderr=True).print(
        f"[dim]{len(completion.tokens)} tokens, seed {completion.seed}, {precision}{ends[completion.finish_reason]}[/]"
    )


def as_json(gpt: LanguageModel, completion: Completion) -> dict[str, Any]:
    """A completion with everything that is known of it."""

    def text(id: int) -> str:
        return gpt.tokenizer.decode([id])

    return {
        "prompt": completion.prompt,
        "text": completion.text,
        "seed": completion.seed,
        "precision": gpt.precision,
        "finish_reason": completion.finish_reason,
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
