"""A conversation with a model: turns written as a transcript that it continues. Knows no terminal.

What was read in earlier turns stays in the cache, so that a turn costs reading what is new.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel


@dataclass(frozen=True)
class Template:
    """How a turn is written: what stands before the user's words, between them and the answer, and after it."""

    before: str
    between: str
    after: str

    @classmethod
    def parse(cls, text: str) -> Template:
        """A turn written out, with ``{user}`` and ``{assistant}`` where the words go.

        Raises:
            ValueError: one of the two is missing or there twice, or nothing tells where an answer ends.
        """
        found = re.fullmatch(r"(.*)\{user\}(.*)\{assistant\}(.*)", text, re.DOTALL)
        if not found or text.count("{user}") + text.count("{assistant}") != 2:
            raise ValueError("a template has {user} once and then {assistant} once: write a turn with both in it")
        template = cls(*found.groups())
        if not template.stop:
            raise ValueError("nothing in the template marks the end of an answer: put a word before {user}")
        return template

    @property
    def stop(self) -> str:
        """What a model writes when it goes on with the user's next turn."""
        return (self.after + self.before).rstrip()


TRANSCRIPT = Template("User: ", "\nAssistant: ", "\n")


@dataclass(frozen=True)
class Turn:
    """What the user said, what was answered, and how the answer ended: as in ``Completion``."""

    user: str
    assistant: str
    num_tokens: int
    finish_reason: str


class Chat:
    """Answers one message after another; ``turns`` are all of them, and the oldest ``num_forgotten`` no longer fit.

    ``opening`` stands before the first turn and is never forgotten. The same seed and the same messages give the same
    conversation.

    Raises:
        ValueError: an answer could fill the whole context.
    """

    def __init__(
        self,
        gpt: LanguageModel,
        params: SamplingParams,
        seed: int,
        template: Template = TRANSCRIPT,
        opening: str = "",
    ):
        context = gpt.model.config.context_length
        self.room = context - params.max_new_tokens  # for what is read before an answer
        if self.room <= 0:
            raise ValueError(
                f"an answer of {params.max_new_tokens} tokens fills the context of {context}: allow fewer new tokens"
            )
        self.tokenizer, self.writer = gpt.tokenizer, gpt.writer(num_rows=1)
        self.params = params.model_copy(update={"stop": (*params.stop, template.stop)})
        self.seed, self.template, self.opening = seed, template, opening
        self.turns: list[Turn] = []
        self.num_forgotten = 0

    def say(self, message: str) -> Generator[str, None, None]:
        """The answer, in pieces as it is written. Closing the generator ends it there, and keeps what is written.

        Raises:
            ValueError: the message alone does not fit the context.
        """
        prompt, self.num_forgotten = self._prompt(message)
        completion = self.writer.add(prompt, self.params, self.seed, choice=len(self.turns))
        has_begun = False
        try:
            while not completion.finish_reason:
                text = "".join(piece.text for piece in self.writer.step())
                text = text if has_begun else text.lstrip()
                has_begun = has_begun or bool(text)
                yield text
        finally:
            self.writer.cancel(completion)
            answer = completion.text.strip()
            self.turns.append(Turn(message, answer, len(completion.tokens), completion.finish_reason))

    def reset(self) -> None:
        """Forgets all turns."""
        self.turns, self.num_forgotten = [], 0

    def transcript(self, first: int = 0) -> str:
        """The opening and the turns from the ``first`` on, as the model sees them."""
        template = self.template
        return self.opening + "".join(
            f"{template.before}{turn.user}{template.between}{turn.assistant}{template.after}"
            for turn in self.turns[first:]
        )

    def _prompt(self, message: str) -> tuple[list[int], int]:
        """What the model is to continue, and how many of the oldest turns had to be left out."""
        # Tokens begin with the space before a word: one at the end would make the first word of an answer unlikely.
        end = f"{self.template.before}{message}{self.template.between}".rstrip(" ")
        first = self.num_forgotten
        while len(ids := self.tokenizer.encode(self.transcript(first) + end)) > self.room:
            if first == len(self.turns):
                raise ValueError(
                    f"the message needs {len(ids)} tokens, and {self.room} fit beside an answer of "
                    f"{self.params.max_new_tokens}: shorten it, or allow fewer new tokens"
                )
            first += 1
        return ids, first
