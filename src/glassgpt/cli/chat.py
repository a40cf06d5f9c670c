"""``glassgpt chat``: a conversation with a model, on a terminal or line by line through a pipe."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from glassgpt.cli.options import Precision, console, finite, printable
from glassgpt.cli.sampling import USUAL, Sampling

if TYPE_CHECKING:
    from glassgpt.generation.chat import Chat

LONGEST_ANSWER = 200  # tokens, unless half the context is less
COMMANDS = "/reset forgets the conversation, /save FILE writes it down, /exit or Ctrl-D ends; Ctrl-C stops an answer"


def chat(
    source: str = "classics",
    /,
    *,
    template: Path | None = None,
    opening: str = "",
    max_new_tokens: int | None = None,
    sampling: Sampling = USUAL,
    seed: int | None = None,
    precision: Precision | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Talk with a model: every line is a message, and the answer is shown as it is written.

    The model continues a transcript. One that was never tuned to answer continues it as it would any text. The oldest
    turns are left out where the conversation exceeds the context. Without a terminal, standard input is read line by
    line and only answers are printed.

    Args:
        source: A run, a model directory, a hub id, classics, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        template: A file with one turn as the model knows it, with {user} and {assistant} in it. By default a line for
            each, "User: {user}" and "Assistant: {assistant}".
        opening: A text before the first turn, which is never left out.
        max_new_tokens: How long an answer may be: 200 tokens by default, or half the context.
        seed: The same seed and the same messages give the same conversation; without one it is drawn and shown.
        precision: The numbers that matrices are kept in. By default those of a quantized directory, float32 for any
            other model.
        device: Where the model computes: cpu, or an accelerator such as cuda.
        json: Prints a line of JSON for each turn, when its answer is complete.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with console(stderr=True).status(f"loading {source}"):
        from glassgpt.generation.chat import TRANSCRIPT, Chat, Template
        from glassgpt.generation.sampling import SamplingParams
        from glassgpt.generation.text import LanguageModel

        turn = TRANSCRIPT if template is None else Template.parse(written(template))
        gpt = LanguageModel.load(source, precision, device)
    longest = min(LONGEST_ANSWER, gpt.model.config.context_length // 2) if max_new_tokens is None else max_new_tokens
    params = SamplingParams(**asdict(sampling), max_new_tokens=longest)
    seed = secrets.randbelow(2**32) if seed is None else seed
    talk = Chat(gpt, params, seed, turn, opening)
    note(f"{source}, {gpt.precision}, seed {seed}. A model that was not tuned to answer continues text.")
    if is_terminal:
        note(COMMANDS)
    return converse(talk, is_terminal, json)


def written(path: Path) -> str:
    """The turn in a file, whose last line ends as the others do, also where an editor left that out."""
    text = path.read_text(encoding="utf-8-sig")
    return text + "\n" if "\n" in text and not text.endswith("\n") else text


def converse(chat: Chat, is_terminal: bool, as_json: bool) -> int:
    """Reads messages and answers them until there are no more; returns the exit code.

    On a terminal a message that cannot be is explained and the conversation goes on.
    """
    from glassgpt.cli.main import message

    for line in lines(is_terminal):
        try:
            if line.strip() == "/exit":
                break
            if line.startswith("/"):
                obey(chat, line)
            elif line.strip() and (code := answer(chat, line, is_terminal, as_json)):
                return code
        except (ValueError, OSError) as error:
            if not is_terminal:
                raise
            note(message(error, debug=False), "red")
    return 0


def lines(is_terminal: bool) -> Iterator[str]:
    """What the user types, or what comes through the pipe."""
    if is_terminal:
        with suppress(ImportError):  # not on every system
            import readline  # noqa: F401 - gives input() its history and its editing
    while True:
        try:
            yield input("> " if is_terminal else "")
        except EOFError:
            if is_terminal:
                print()
            return
        except KeyboardInterrupt:
            if not is_terminal:
                raise
            note("\n/exit or Ctrl-D ends")


def obey(chat: Chat, line: str) -> None:
    """Does what a line with a command says.

    Raises:
        ValueError: there is no such command.
        FileExistsError: what is to be saved would overwrite a file.
    """
    name, _, argument = line.strip().partition(" ")
    if name == "/reset":
        chat.reset()
        said = "the conversation begins anew"
    elif name == "/save" and argument:
        with Path(argument).expanduser().open("x", encoding="utf-8") as file:
            file.write(chat.transcript())
        said = f"{len(chat.turns)} turns are in {argument}"
    else:
        raise ValueError(f"there is no command {line.strip()!r}: {COMMANDS}. A space before it makes it a message")
    note(said)


def answer(chat: Chat, message: str, is_terminal: bool, as_json: bool) -> int:
    """Prints the answer while it is written; Ctrl-C stops it, and ends the process where there is no terminal.

    Returns the exit code of a process that was asked to end, else 0.
    """
    from glassgpt.training.interrupt import Interrupt

    forgotten, out = chat.num_forgotten, sys.stdout
    with Interrupt() as interrupt, closing(chat.say(message)) as pieces:
        for piece in pieces:
            if not as_json:
                out.write(printable(piece) if is_terminal else piece)
                out.flush()
            if interrupt:
                break
    turn = chat.turns[-1]
    if as_json:
        print(dumps(finite({**asdict(turn), "num_forgotten": chat.num_forgotten})), flush=True)
    else:
        print(flush=True)
    ends = {"length": "the answer is cut off: --max-new-tokens allows more", "cancelled": "stopped"}
    said = [ends[turn.finish_reason]] if turn.finish_reason in ends else []
    if chat.num_forgotten > forgotten:
        said.append(f"the oldest {chat.num_forgotten} turns no longer fit the context and are left out")
    if said:
        note("; ".join(said))
    return 0 if is_terminal and interrupt.signal in (None, signal.SIGINT) else interrupt.exit_code


def note(text: str, style: str = "dim") -> None:
    """Tells the user, beside the conversation."""
    console(stderr=True).print(text, style=style, markup=False, soft_wrap=True)
