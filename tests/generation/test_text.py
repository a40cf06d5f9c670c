import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import glassgpt
from glassgpt.generation.stops import StopText
from glassgpt.generation.text import LanguageModel
from glassgpt.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def gpt(model, bytes_tokenizer) -> LanguageModel:
    return LanguageModel(model, bytes_tokenizer)


def test_what_is_saved_writes_the_same_text(gpt, tmp_path):
    gpt.save(tmp_path / "model")
    again = glassgpt.load(tmp_path / "model")
    assert again.generate("Once", max_new_tokens=20, seed=3) == gpt.generate("Once", max_new_tokens=20, seed=3)


def test_streamed_text_is_the_whole_text(gpt):
    for seed in range(20):  # a random model over bytes splits characters all the time
        whole = gpt.generate("Once", max_new_tokens=25, seed=seed)
        assert "".join(gpt.stream("Once", max_new_tokens=25, seed=seed)) == whole


def test_several_prompts_are_continued_together(gpt):
    prompts = ["Once", "", "To be or not to be"]
    alone = [gpt.generate(prompt, max_new_tokens=10, seed=5) for prompt in prompts]
    assert gpt.generate(prompts, max_new_tokens=10, seed=5) == alone


def test_a_drawn_seed_repeats_the_text(gpt):
    [first] = gpt.complete(["Once"], max_new_tokens=20)
    assert gpt.generate("Once", max_new_tokens=20, seed=first.seed) == first.text


def test_a_stop_string_ends_the_text_before_it(gpt):
    whole = gpt.generate("Once", max_new_tokens=25, seed=4)
    stop = whole[6:8]
    [completion] = gpt.complete(["Once"], max_new_tokens=25, seed=4, stop=(stop,))
    assert completion.text == whole[: whole.index(stop)]
    assert completion.finish_reason == "stop"
    assert "".join(gpt.stream("Once", max_new_tokens=25, seed=4, stop=(stop,))) == completion.text


def test_end_of_text_is_not_part_of_the_text(gpt):
    gpt.tokenizer = Tokenizer(gpt.tokenizer.tokens)  # one of its own: all tests share the other
    with torch.no_grad():
        gpt.model.token_embedding.weight[256] = gpt.model.final_norm.weight * 0  # never likely by itself
    plain = gpt.complete(["Once"], max_new_tokens=12, temperature=0.0)[0]
    gpt.tokenizer.eot = plain.tokens[8].id
    ended = gpt.complete(["Once"], max_new_tokens=12, temperature=0.0)[0]
    first = [token.id for token in plain.tokens].index(plain.tokens[8].id)
    assert [token.id for token in ended.tokens] == [token.id for token in plain.tokens[: first + 1]]
    assert ended.text == gpt.tokenizer.decode(token.id for token in plain.tokens[:first])
    assert ended.finish_reason == "stop"


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_stop_text_cuts_at_the_first_stop_however_it_arrives(text, stops, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    filtered = StopText(stops)
    output = "".join(filtered.push(piece) for piece in pieces) + filtered.finish()
    # The first stop string that is complete as the text arrives ends it, where it begins.
    ends = [(text.find(stop) + len(stop)) for stop in stops if stop in text]
    if not ends:
        assert output == text and not filtered.is_found
    else:
        assert filtered.is_found and text.startswith(output)
        assert any(text.startswith(stop, len(output)) for stop in stops)
        assert not any(stop in output for stop in stops)


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match="a stop string is empty"):
        StopText([""])
