"""``glassgpt chat`` as a user runs it: through a pipe, and on a terminal of its own."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from glassgpt.generation.chat import Chat
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize

ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "TERM": "dumb"}


@pytest.fixture(scope="module")
def gpt(bytes_tokenizer) -> LanguageModel:
    config = ModelConfig(vocab_size=257, context_length=1024, emb_dim=32, num_heads=2, num_layers=1)
    return LanguageModel(initialize(GPT(config), seed=1).eval(), bytes_tokenizer)


@pytest.fixture(scope="module")
def directory(gpt, tmp_path_factory):
    directory = tmp_path_factory.mktemp("chat") / "model"
    gpt.save(directory)
    return directory


@pytest.fixture
def endless(bytes_tokenizer, tmp_path):
    """A model that never ends a text by itself and has room for thousands of tokens."""
    config = ModelConfig(vocab_size=257, context_length=8192, emb_dim=32, num_heads=2, num_layers=1)
    model = initialize(GPT(config), seed=1).eval()
    model.final_norm.bias.data.fill_(1.0)
    model.token_embedding.weight.data[bytes_tokenizer.eot] = -1.0  # a logit of about -32
    LanguageModel(model, bytes_tokenizer).save(tmp_path / "endless")
    return tmp_path / "endless"


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "glassgpt", "chat", *map(str, arguments)]


def piped(*arguments, input) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), input=input, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


def test_lines_of_a_pipe_are_answered_one_after_another(directory, gpt, tmp_path):
    chat = Chat(gpt, SamplingParams(max_new_tokens=9), seed=3)
    expected = "".join("".join(chat.say(message)) + "\n" for message in ("Hello", "And then?"))
    lines = f"Hello\n\nAnd then?\n/save {tmp_path / 'talk.txt'}\n/exit\nnever\n"
    result = piped(directory, "--seed", 3, "--max-new-tokens", 9, input=lines)
    assert (result.returncode, result.stdout) == (0, expected)
    assert (tmp_path / "talk.txt").read_text() == chat.transcript()
    assert "A model that was not tuned to answer continues text." in result.stderr


def test_json_is_a_line_a_turn(directory):
    result = piped(directory, "--seed", 3, "--max-new-tokens", 500, "--json", input=f"{'a' * 300}\n{'b' * 300}\n")
    turns = [json.loads(line) for line in result.stdout.splitlines()]
    assert [turn["user"] for turn in turns] == ["a" * 300, "b" * 300]
    assert [turn["num_forgotten"] for turn in turns] == [0, 1]
    assert "the oldest 1 turns no longer fit the context" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "input", "message"),
    [
        (["--max-new-tokens", "1024"], "", "an answer of 1024 tokens fills the context of 1024"),
        ([], "/sing\n", "there is no command '/sing'"),
        ([], "x" * 1000 + "\n", "the message needs"),
    ],
)
def test_what_cannot_be_is_one_line_and_ends_a_pipe(directory, arguments, input, message):
    result = piped(directory, *arguments, input=input)
    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr


@pytest.mark.parametrize("content", ["Q: {user}\nA: {assistant}\n", "\ufeffQ: {user}\nA: {assistant}"])
def test_a_template_of_ones_own(directory, tmp_path, content):
    """Also as some editors leave it: with a mark before the first line, and the last one not ended."""
    (tmp_path / "turn.txt").write_text(content, encoding="utf-8")
    lines = f"Hello\nAgain\n/save {tmp_path / 'talk.txt'}\n"
    piped(directory, "--template", tmp_path / "turn.txt", "--opening", "Questions.\n", input=lines)
    saved = (tmp_path / "talk.txt").read_text()
    assert saved.startswith("Questions.\nQ: Hello\nA: ")
    assert "\nQ: Again\nA: " in saved


class Terminal:
    """A process on a terminal: what is typed, and what has appeared."""

    def __init__(self, *arguments):
        pty = pytest.importorskip("pty")
        self.screen = ""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, command(*arguments), ENVIRONMENT)

    def type(self, text: str) -> None:
        os.write(self.file, text.encode())

    def wait_for(self, text: str) -> str:
        """Reads until the text appears; returns what came before it and forgets both."""
        while text not in self.screen:
            self.screen += os.read(self.file, 4096).decode(errors="replace")
        before, _, self.screen = self.screen.partition(text)
        return before

    def press_until(self, text: str, key: str) -> None:
        """Presses a key again until the text appears.

        Python's input() misses a Ctrl-C that arrives while it still handles the key before it.
        """
        self.type(key)
        while text not in self.screen:
            if select.select([self.file], [], [], 5)[0]:
                self.screen += os.read(self.file, 4096).decode(errors="replace")
            else:
                self.type(key)
        self.wait_for(text)

    def exit_code(self) -> int:
        try:
            while os.read(self.file, 4096):
                pass
        except OSError:  # a terminal whose last process ended
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_conversation_on_a_terminal(directory):
    terminal = Terminal(directory, "--seed", 3, "--max-new-tokens", 12)
    terminal.wait_for("> ")
    terminal.type("Hello\n")
    terminal.wait_for("the answer is cut off")
    terminal.wait_for("\n> ")
    terminal.type("/sing\n")
    terminal.wait_for("there is no command '/sing'")
    terminal.wait_for("> ")
    terminal.type("/reset\n")
    terminal.wait_for("the conversation begins anew")
    terminal.wait_for("> ")
    terminal.type("\x04")  # Ctrl-D
    assert terminal.exit_code() == 0


def test_ctrl_c_at_the_prompt_says_how_to_end(directory):
    terminal = Terminal(directory)
    terminal.wait_for("> ")
    terminal.type("half a sen")
    terminal.wait_for("sen")
    terminal.press_until("/exit or Ctrl-D ends", "\x03")  # Ctrl-C
    terminal.wait_for("> ")
    terminal.type("/exit\n")
    assert terminal.exit_code() == 0


def test_ctrl_c_stops_the_answer_and_not_the_conversation(endless, tmp_path):
    terminal = Terminal(endless, "--seed", 3, "--max-new-tokens", 8000)
    terminal.wait_for("> ")
    terminal.type("Hello\n")
    terminal.wait_for("Hello\r\n")
    while not terminal.screen:
        terminal.screen += os.read(terminal.file, 4096).decode(errors="replace")
    os.kill(terminal.pid, signal.SIGINT)
    terminal.wait_for("stopped")
    terminal.wait_for("> ")
    terminal.type(f"/save {tmp_path / 'talk.txt'}\n")
    terminal.wait_for("1 turns are in")
    terminal.type("/exit\n")
    assert terminal.exit_code() == 0
    assert (tmp_path / "talk.txt").read_text().startswith("User: Hello\nAssistant: ")
