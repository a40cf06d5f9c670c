"""The book's own GPTModel is the judge: it loads what is written, and what it saves is read."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from glassgpt.book import GPTModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.opened import Opened

SETTINGS = {
    "vocab_size": 257, "context_length": 32, "emb_dim": 48, "n_heads": 3, "n_layers": 3, "drop_rate": 0.1,
    "qkv_bias": False,
}  # fmt: skip
TOKENS = torch.arange(50).view(2, 25) * 5


@pytest.fixture
def book() -> GPTModel:
    torch.manual_seed(123)
    return GPTModel(SETTINGS).eval()


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors", "model_and_optimizer.pth"])
def test_what_the_book_saves_is_read(book, tmp_path, name):
    path = tmp_path / name
    if name == "model.safetensors":
        save_file(book.state_dict(), path)
    elif name == "model.pth":
        torch.save(book.state_dict(), path)
    else:
        optimizer = torch.optim.AdamW(book.parameters())
        torch.save({"model_state_dict": book.state_dict(), "optimizer_state_dict": optimizer.state_dict()}, path)
    path.with_suffix(".json").write_text(json.dumps(SETTINGS))
    opened = open_model(path)
    assert (opened.format, opened.config) == ("book", ModelConfig.from_book(SETTINGS))
    assert "attention masks dropped" in opened.facts["notes"]
    with torch.no_grad():
        torch.testing.assert_close(opened.build()(TOKENS), book(TOKENS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("tied_head", [True, False])
def test_the_book_loads_what_is_written(tiny, tmp_path, suffix, tied_head):
    model = initialize(GPT(tiny.model_copy(update={"tied_head": tied_head})), seed=1).eval()
    path = tmp_path / f"model{suffix}"
    write_model(Opened.of(model), "book", path)
    theirs = GPTModel(json.loads((tmp_path / "model.json").read_text())).eval()
    theirs.load_state_dict(load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True))
    opened = open_model(path)
    assert opened.config == model.config
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS), model(TOKENS), rtol=0, atol=1e-5)
        assert torch.equal(opened.build()(TOKENS), model(TOKENS))


def test_published_sizes_need_no_settings(tmp_path):
    """Width and depth of GPT-2 small tell its twelve heads; the other sizes are in the tensors."""
    settings = {**SETTINGS, "emb_dim": 768, "n_heads": 12, "n_layers": 12, "vocab_size": 7, "context_length": 5}
    torch.save(GPTModel(settings).state_dict(), tmp_path / "model.pth")
    assert open_model(tmp_path / "model.pth").config == ModelConfig.from_book({**settings, "drop_rate": 0.0})


def test_an_unknown_number_of_heads_is_asked_for(book, tmp_path):
    torch.save(book.state_dict(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"the number of heads is unknown: write the book's dictionary .*model\.json"):
        open_model(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_layers": 2}, "unexpected: trf_blocks.2"),
        ({"context_length": 64}, r"pos_emb.weight is \(32, 48\), expected \(64, 48\)"),
        ({"n_heads": 5}, "emb_dim 48 is not divisible by num_heads 5"),
        ({"qkv_bias": True}, r"missing: trf_blocks\.0\.att\.W_query\.bias"),
        ({"rope": True}, r"model\.json: .* unknown: rope"),
    ],
)
def test_settings_that_contradict_the_tensors_are_refused(book, tmp_path, settings, message):
    torch.save(book.state_dict(), tmp_path / "model.pth")
    (tmp_path / "model.json").write_text(json.dumps({**SETTINGS, **settings}))
    with pytest.raises(ValueError, match=message) as refused:
        open_model(tmp_path / "model.pth")
    assert "\n" not in str(refused.value)


def test_a_file_out_of_a_hugging_face_directory_is_told_apart(tmp_path):
    save_file({"transformer.wte.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="for a Hugging Face model give its directory, not the file"):
        open_model(tmp_path / "model.safetensors")


def test_other_suffixes_and_what_the_book_cannot_express_are_refused(model, tiny, tmp_path):
    with pytest.raises(ValueError, match=r"model\.bin ends in neither \.pth nor \.safetensors"):
        write_model(Opened.of(model), "book", tmp_path / "model.bin")
    other = GPT(tiny.model_copy(update={"norm_eps": 1e-6}))
    with pytest.raises(ValueError, match="the book normalises with epsilon 1e-5, this model with 1e-06"):
        write_model(Opened.of(other), "book", tmp_path / "model.pth")
    assert list(tmp_path.iterdir()) == []
