"""``glassgpt generate``: text from a model, shown while it is written."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.completions import as_json, finish, print_lines, show, show_all
from glassgpt.cli.options import Precision, UsageError, console, print_json
from glassgpt.cli.sampling import USUAL, Sampling
from glassgpt.cli.tokens import piped


def generate(
    source: str | None = None,
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    max_new_tokens: int = 200,
    sampling: Sampling = USUAL,
    stop: tuple[str, ...] = (),
    ignore_eot: bool = False,
    overflow: Literal["stop", "refuse", "slide", "crop"] = "stop",
    seed: int | None = None,
    n: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 1,
    prompts: Path | None = None,
    order: Literal["input", "completion"] = "input",
    logprobs: Annotated[int, Parameter(validator=Number(gte=0, lte=20))] = 0,
    precision: Precision | None = None,
    speculate: str | None = None,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Continue a prompt, showing the text as it is written.

    A prompt alone is continued by "classics", a small model of English prose that comes with glassgpt.

    Args:
        source: A run, a model directory, a hub id, classics, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        prompt: The text to continue. "-" reads standard input, and so does no prompt when something is piped in; ""
            starts from the end-of-text token.
        max_new_tokens: How many tokens to write at most.
        stop: Ends before this text appears; may be given several times.
        ignore_eot: Goes on where the model would end the text.
        overflow: Where the context is full: stop there, refuse beforehand, slide (re-read its last half) or crop
            (re-read all but its oldest token, for every token: slow).
        seed: The same seed gives the same text; without one it is drawn and shown.
        n: How many texts to write, each its own.
        prompts: A file of prompts instead of one: a text file with one a line, or .jsonl with a line such as {"prompt":
            "Once", "temperature": 0.5, "n": 2}. Prints a line of JSON for each text.
        order: Of these lines: as in the file, or as they are finished.
        logprobs: With --json, this many likeliest alternatives at every position.
        precision: The numbers that matrices are kept in: fewer bits are smaller and faster and write other text. By
            default those of a quantized directory, and float32 for any other model.
        speculate: Writes the same text in fewer passes of the model, by guesses: lookup takes them from the text so
            far, a smaller model with the same vocabulary writes them.
        device: Where the model computes: cpu, or an accelerator such as cuda.
        json: Prints the completion with its tokens and their logprobs instead; several as a list.
    """
    source, prompt = choose(source, prompt)
    if prompts is not None and prompt is not None:
        raise UsageError("--prompts takes the place of the prompt: give one or the other")
    if order == "completion" and prompts is None:
        raise UsageError("--order is that of a file's lines: give --prompts FILE, too, or leave it out")
    if logprobs and not json:
        raise UsageError("--logprobs are part of the JSON only: add --json")
    if prompts is None and (prompt is None or prompt == "-"):
        prompt = piped().removesuffix("\n")
    if speculate is not None and (prompts is not None or n > 1):
        raise UsageError("--speculate writes one text: leave out --prompts and --n, or write them together without it")
    with console(stderr=True).status(f"loading {source}"):
        from glassgpt.generation.engine import NUM_ROWS
        from glassgpt.generation.prompt_file import read_prompts
        from glassgpt.generation.sampling import SamplingParams
        from glassgpt.generation.text import LanguageModel

        params = SamplingParams(
            **asdict(sampling),
            max_new_tokens=max_new_tokens,
            stop=stop,
            stop_at_eot=not ignore_eot,
            overflow=overflow,
            num_top=logprobs,
        )
        lines = [] if prompts is None else read_prompts(prompts, params, seed, n)
        gpt = LanguageModel.load(source, precision, device)
        is_draft = speculate is not None and speculate != "lookup"
        guesses = LanguageModel.load(speculate, precision, device) if is_draft else speculate
    seed = secrets.randbelow(2**32) if seed is None else seed
    if prompts is not None:
        print_lines(gpt, lines, seed, order == "input", with_tokens=json)
        return
    writer = gpt.writer(speculate=guesses, num_rows=min(n, NUM_ROWS))
    completions = [writer.add(prompt or "", params, seed, choice) for choice in range(n)]
    if n == 1 and not json:
        show(writer, completions[0], gpt.precision)
        return
    finish(writer, n * max_new_tokens)
    if json:
        shown = [as_json(gpt, completion) for completion in completions]
        if writer.tally is not None:
            shown[0]["speculation"] = vars(writer.tally)
        print_json(shown[0] if n == 1 else shown)
    else:
        show_all(completions)


def choose(source: str | None, prompt: str | None) -> tuple[str, str | None]:
    """The model and the prompt that are meant: what does not name a model is a prompt for the bundled one."""
    from glassgpt.weights.source import BUNDLED, names_model

    if prompt is None and source is not None and not names_model(source):
        return BUNDLED, source
    return source or BUNDLED, prompt
