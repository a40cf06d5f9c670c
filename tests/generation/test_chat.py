"""A conversation is a transcript that the model continues: what it sees, forgets, and does not read again."""

import pytest

from glassgpt.generation.chat import Chat, Template
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize

PARAMS = SamplingParams(max_new_tokens=12)


@pytest.fixture
def gpt(bytes_tokenizer) -> LanguageModel:
    config = ModelConfig(vocab_size=257, context_length=128, emb_dim=32, num_heads=2, num_layers=1)
    return LanguageModel(initialize(GPT(config), seed=1).eval(), bytes_tokenizer)


def test_an_answer_continues_the_transcript(gpt):
    chat = Chat(gpt, PARAMS, seed=3, opening="A talk.\n")
    answer = "".join(chat.say("Hello"))
    settings = PARAMS.model_copy(update={"stop": ("\nUser:",)}).model_dump()
    assert answer == gpt.generate("A talk.\nUser: Hello\nAssistant:", seed=3, **settings).lstrip()
    assert chat.transcript() == f"A talk.\nUser: Hello\nAssistant: {answer.strip()}\n"
    [turn] = chat.turns
    assert (turn.user, turn.assistant, turn.num_tokens, turn.finish_reason) == ("Hello", answer.strip(), 12, "length")


def test_an_answer_ends_where_the_model_goes_on_to_the_next_turn(gpt):
    words = "".join(Chat(gpt, PARAMS, 3, Template("", "\nA:", "#")).say("Hello"))
    end = words[4:6]  # what it is about to write begins a turn
    chat = Chat(gpt, PARAMS, 3, Template("", "\nA:", end))
    assert "".join(chat.say("Hello")) == words[: words.index(end)]
    assert chat.turns[0].finish_reason == "stop"


def test_what_earlier_turns_read_is_not_read_again(gpt):
    chat, read = Chat(gpt, PARAMS, seed=3), []
    "".join(chat.say("Hello"))
    hidden = gpt.model.hidden
    gpt.model.hidden = lambda tokens, cache: read.append(tokens.numel()) or hidden(tokens, cache)
    "".join(chat.say("Again"))
    whole = len(gpt.tokenizer.encode(f"User: Hello\nAssistant: {chat.turns[0].assistant}\nUser: Again\nAssistant:"))
    assert read[0] <= whole - len("User: Hello\nAssistant:")


def test_the_oldest_turns_are_forgotten_whole(gpt):
    chat = Chat(gpt, PARAMS, seed=3, opening="A talk.\n")
    for number in range(6):
        "".join(chat.say(f"Message {number}"))
    assert 0 < chat.num_forgotten < 6
    assert chat.transcript(chat.num_forgotten).startswith(f"A talk.\nUser: Message {chat.num_forgotten}\n")
    assert "User: Message 0\n" in chat.transcript()  # what the model forgot can still be saved
    with pytest.raises(ValueError, match=r"the message needs 2\d\d tokens, and 116 fit beside an answer of 12"):
        next(chat.say("x" * 200))
    assert len(chat.turns) == 6
    chat.reset()
    assert (chat.transcript(), chat.num_forgotten) == ("A talk.\n", 0)


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_goes(gpt):
    chat = Chat(gpt, PARAMS, seed=3)
    pieces = chat.say("Hello")
    for _ in range(4):
        next(pieces)
    pieces.close()
    [turn] = chat.turns
    assert (turn.num_tokens, turn.finish_reason) == (4, "cancelled")
    assert "".join(chat.say("Go on"))  # the row is free again


def test_a_conversation_is_repeatable(gpt):
    talks = [Chat(gpt, PARAMS, seed=3) for _ in range(2)]
    first, second = (["".join(talk.say(message)) for message in ("Hello", "Hello")] for talk in talks)
    assert first == second


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("User: {user}\n", "has {user} once and then {assistant} once"),
        ("{assistant} then {user}", "has {user} once and then {assistant} once"),
        ("{user}{user}{assistant}", "has {user} once and then {assistant} once"),
        ("{user}: {assistant}\n", "nothing in the template marks the end"),
    ],
)
def test_templates_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=message):
        Template.parse(text)


def test_an_answer_that_leaves_no_room_is_refused(gpt):
    with pytest.raises(ValueError, match="an answer of 128 tokens fills the context of 128"):
        Chat(gpt, SamplingParams(max_new_tokens=128), seed=1)
