import pytest

from glassgpt.generation.prompt_file import read_prompts
from glassgpt.generation.sampling import SamplingParams

PARAMS = SamplingParams(temperature=0.5, stop=(".",))


def test_every_line_of_a_text_is_a_prompt(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes('Once upon\r\n  Grüße \n{"prompt": 1}\n'.encode())
    lines = read_prompts(path, PARAMS, seed=3, n=2)
    assert [(line.number, line.prompt) for line in lines] == [(1, "Once upon"), (2, "  Grüße "), (3, '{"prompt": 1}')]
    assert all((line.params, line.seed, line.n) == (PARAMS, 3, 2) for line in lines)


def test_a_json_line_may_have_its_own_parameters(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": ""}\n{"prompt": [5, 7], "temperature": 0, "seed": 9, "n": 4, "stop": ["!"]}')
    first, second = read_prompts(path, PARAMS, seed=3)
    assert (first.prompt, first.params, first.seed, first.n) == ("", PARAMS, 3, 1)
    assert (second.prompt, second.seed, second.n) == ([5, 7], 9, 4)
    assert second.params == SamplingParams(temperature=0, stop=("!",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt is empty: write one prompt a line"),
        ("a.txt", b"Once\n\nTwice\n", "a.txt:2: the line is empty"),
        ("a.txt", b"Once\n \t\n", "a.txt:2: the line is empty"),
        ("a.txt", b"Once\n\xff\n", "a.txt:2: the line is not UTF-8 text"),
        ("a.jsonl", b'{"prompt": "Once"}\n\n', "a.jsonl:2: the line is empty"),
        ("a.jsonl", b'{"prompt": "Once"}\n"Twice"', "a.jsonl:2: expected an object with a prompt"),
        ("a.jsonl", b'{"text": "Once"}', "a.jsonl:1: expected an object with a prompt"),
        ("a.jsonl", b'{"prompt": "Once", "prompt": "Twice"}', "a.jsonl:1: it has the key 'prompt' twice"),
        ("a.jsonl", b'{"prompt": "Once"', "a.jsonl:1: Expecting"),
        ("a.jsonl", b'{"prompt": "Once", "temprature": 1}', "a.jsonl:1: temprature: Extra inputs are not permitted"),
        ("a.jsonl", b'{"prompt": "Once", "top_p": 2}', "a.jsonl:1: top_p: Input should be less than or equal to 1"),
        ("a.jsonl", b'{"prompt": "Once", "n": 0}', "a.jsonl:1: n: Input should be greater than or equal to 1"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_prompts(path, PARAMS)
    assert message in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_prompts(tmp_path / "nowhere.txt", PARAMS)
