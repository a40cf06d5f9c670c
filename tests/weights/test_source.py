import pytest

from glassgpt.weights.directory import save_model
from glassgpt.weights.source import find


def test_a_model_directory_is_itself(model, bytes_tokenizer, tmp_path):
    save_model(model, bytes_tokenizer, tmp_path / "model")
    assert find(str(tmp_path / "model")) == tmp_path / "model"


def test_a_hub_cache_is_used_offline(model, bytes_tokenizer, tmp_path, monkeypatch):
    from huggingface_hub import constants

    repository = tmp_path / "models--openai-community--gpt2"
    save_model(model, bytes_tokenizer, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert find("124M").name == "abc123"


@pytest.mark.parametrize("source", ["gpt2", "gpt2-xl", "somebody/some-model"])
def test_without_network_and_cache_it_says_what_to_do(source, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"not in the cache .* the hub did not answer. Connect"):
        find(source)


def test_what_cannot_be_found_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model 'gpt9'"):
        find("gpt9")
    with pytest.raises(ValueError, match="the weights of gpt3-175b were never published"):
        find("175B")
    with pytest.raises(FileNotFoundError, match=r"a directory without config\.json or checkpoints/"):
        find(tmp_path)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        find(tmp_path / "run")
