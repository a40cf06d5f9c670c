"""What holds for every format: found by content, read lazily, equal logits, written whole or not at all."""

import os
import signal
import weakref

import pytest
import torch

from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.torture.victim import Victim
from glassgpt.weights.formats import FORMATS, format_named, open_model, write_model
from glassgpt.weights.headers import recognize
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.opened import Opened

TOKENS = torch.arange(50).view(2, 25) * 5
NAMES = {"hf": "model", "openai": "117M", "book": "model.pth", "nanogpt": "ckpt.pt", "llmc": "model.bin"}


@pytest.mark.parametrize("name", NAMES)
def test_logits_come_back_bit_for_bit(model, bytes_tokenizer, tmp_path, name):
    told = []
    path = tmp_path / "out" / NAMES[name]
    write_model(Opened.of(model, bytes_tokenizer), name, path, progress=lambda *now: told.append(now))
    assert recognize(path) == name
    assert sorted(tensor for tensor, _, _ in told) == sorted(model.state_dict())
    assert [done for _, done, _ in told] == list(range(1, len(told) + 1))

    opened = open_model(path)
    assert (opened.format, opened.config) == (name, model.config)
    assert list(opened.tensors) == list(model.state_dict())
    assert opened.facts["dtypes"] == dict.fromkeys(model.state_dict(), "float32")
    assert torch.equal(opened.build()(TOKENS), model(TOKENS))


@pytest.mark.parametrize("name", ["hf", "book", "nanogpt", "llmc"])
def test_bfloat16_comes_back_bit_for_bit(model, bytes_tokenizer, tmp_path, name):
    write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / NAMES[name], "bfloat16")
    opened = open_model(tmp_path / NAMES[name])
    assert set(opened.facts["dtypes"].values()) == {"bfloat16"}
    assert torch.equal(opened.build()(TOKENS), model.bfloat16().float()(TOKENS))


@pytest.mark.parametrize("name", ["hf", "book", "nanogpt"])
def test_a_number_too_large_for_float16_is_refused_by_name(model, bytes_tokenizer, tmp_path, name):
    model.blocks[1].mlp.up.weight.data[3, 3] = 7e4
    with pytest.raises(ValueError, match=r"^blocks\.1\.mlp\.up\.weight holds 7e\+04, float16 .*: choose bfloat16"):
        write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / NAMES[name], "float16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_any_format_becomes_any_other(model, bytes_tokenizer, tmp_path, source, target):
    write_model(Opened.of(model, bytes_tokenizer), source, tmp_path / f"a{NAMES[source]}")
    opened = open_model(tmp_path / f"a{NAMES[source]}")
    opened = opened if opened.tokenizer else opened.with_tokenizer(bytes_tokenizer)
    write_model(opened, target, tmp_path / f"b{NAMES[target]}")
    assert torch.equal(open_model(tmp_path / f"b{NAMES[target]}").build()(TOKENS), model(TOKENS))


def test_tensors_are_read_when_they_are_asked_for(model, tmp_path):
    write_model(Opened.of(model), "llmc", tmp_path / "model.bin")
    opened = open_model(tmp_path / "model.bin")
    os.truncate(tmp_path / "model.bin", 1024 + 48 * 257 * 4)
    assert torch.equal(opened.tensors["token_embedding.weight"], model.token_embedding.weight)
    with pytest.raises(ValueError, match=r"model\.bin: bytes .* are needed|it was cut off while in use"):
        opened.tensors["final_norm.weight"]
    with pytest.raises(KeyError):
        opened.tensors["final_norm.scale"]


def test_a_conversion_holds_one_tensor_at_a_time(tmp_path, tiny):
    config = tiny.model_copy(update={"emb_dim": 384, "num_heads": 6, "num_layers": 4})
    model = initialize(GPT(config), seed=1)
    write_model(Opened.of(model), "llmc", tmp_path / "model.bin")
    alive, most = [0], [0]

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        alive[0] += tensor.nbytes
        most[0] = max(most[0], alive[0])
        weakref.finalize(tensor, lambda size=tensor.nbytes: alive.__setitem__(0, alive[0] - size))
        return tensor

    opened = open_model(tmp_path / "model.bin")
    tensors = LazyTensors(opened.tensors.blank, lambda name: counted(opened.tensors[name]))
    write_model(Opened("llmc", config, tensors), "openai", tmp_path / "model")
    sizes = [tensor.nbytes for tensor in opened.tensors.blank.values()]
    assert most[0] <= 2 * max(sizes) < sum(sizes) / 5


@pytest.mark.parametrize("name", NAMES)
def test_what_exists_is_not_replaced(model, bytes_tokenizer, tmp_path, name):
    path = tmp_path / NAMES[name]
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="remove it or choose another name"):
        write_model(Opened.of(model, bytes_tokenizer), name, path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_write_leaves_nothing(model, bytes_tokenizer, tmp_path, name):
    def fail(tensor: str, done: int, total: int) -> None:
        if done == 5:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / NAMES[name], progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [1, 5, 40])
def test_a_killed_write_leaves_nothing_at_the_destination(model, bytes_tokenizer, tmp_path, name, at):
    def die(tensor: str, done: int, total: int) -> None:
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    victim = Victim(
        lambda _: write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / NAMES[name], progress=die)
    )
    assert victim.wait().code == -signal.SIGKILL
    assert not (tmp_path / NAMES[name]).exists()
    write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / NAMES[name])
    assert open_model(tmp_path / NAMES[name]).config == model.config


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_unless_wanted(model, tmp_path, value):
    model.blocks[1].mlp.up.bias.data[7] = value
    write_model(Opened.of(model), "llmc", tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"model\.bin: blocks\.1\.mlp\.up\.bias holds NaN or infinity"):
        open_model(tmp_path / "model.bin").build()
    assert not open_model(tmp_path / "model.bin", allow_nonfinite=True).build().blocks[1].mlp.up.bias.isfinite().all()


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (None, "an empty directory"),
        ({"a.txt": b"", "b.txt": b""}, r"a directory with a\.txt, b\.txt"),
        ({f"{n}.bin": b"" for n in range(9)}, r"a directory with 0\.bin, .*, 5\.bin and 3 more"),
        (b"", "a file of 0 bytes beginning with nothing"),
        (b"\x89PNG\r\n\x1a\n", "a file of 8 bytes beginning 89 50 4e 47 0d 0a 1a 0a"),
    ],
)
def test_what_no_format_is_is_described(tmp_path, content, looks):
    path = tmp_path / "thing"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
        for name, each in (content or {}).items():
            (path / name).write_bytes(each)
    with pytest.raises(ValueError, match=rf"thing is {looks}, which no format here is: readable are .*hf, openai"):
        open_model(path)


def test_what_is_not_there_or_not_a_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or directory"):
        open_model(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a pipe, a socket or a device"):
        open_model(tmp_path / "pipe")


def test_names_and_dtypes_that_do_not_exist_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"no format is called 'keras': choose one of .*openai"):
        write_model(Opened.of(model), "keras", tmp_path / "x")
    with pytest.raises(ValueError, match="openai is not written as 'float16': choose one of float32"):
        write_model(Opened.of(model), "openai", tmp_path / "x", "float16")
    with pytest.raises(ValueError, match="this model came without one"):
        write_model(Opened.of(model), "hf", tmp_path / "x")


def test_every_format_says_what_it_is():
    for name in FORMATS:
        form = format_named(name)
        assert form.name == name
        assert form.description[0].islower() or form.description[0].isupper()
