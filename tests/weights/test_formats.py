import torch

from glassgpt.weights.formats import Opened, open_model, write_model

TOKENS = torch.arange(50).view(2, 25) * 5


def test_a_hugging_face_directory_is_a_format(model, bytes_tokenizer, tmp_path):
    done = []
    write_model(Opened.of(model, bytes_tokenizer), "hf", tmp_path / "model", progress=lambda *now: done.append(now))
    assert len(done) == len(model.state_dict())
    again = open_model(tmp_path / "model")
    assert (again.format, again.config) == ("hf", model.config)
    assert again.tokenizer.sha256 == bytes_tokenizer.sha256
    assert torch.equal(again.build()(TOKENS), model(TOKENS))
