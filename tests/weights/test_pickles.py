"""Python's own pickle writes here what must never be executed."""

import builtins
import copyreg
import os
import pickle
import subprocess
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch

from glassgpt.weights.pickle_writer import encode
from glassgpt.weights.pickles import describe
from glassgpt.weights.torch_objects import Storage, StoredTensor

TENSOR = StoredTensor(Storage("0", "float32", 12), 2, (2, 5))
PLAIN = {
    "none": None, "bools": (True, False), "integers": [0, 255, -1, 65535, 2**31 - 1, -(2**31), 2**40, -(2**40)],
    "floats": [0.0, -1.5, 1e-300], "texts": ["", "é", "x" * 300], "empty": ({}, [], ()), "deep": {"a": {"b": {1: [2]}}},
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_is_described_as_it_is(protocol):
    assert describe(pickle.dumps(PLAIN, protocol)) == PLAIN
    assert describe(pickle.dumps(OrderedDict(a=1), protocol)) == {"a": 1}


def test_what_is_written_is_plain_pickle_and_described_alike():
    assert pickle.loads(encode(PLAIN)) == PLAIN
    assert describe(encode({"tensor": TENSOR})) == {"tensor": TENSOR}
    with pytest.raises(TypeError, match="a set has no place"):
        encode({"a": {1, 2}})


class Calls:
    """An object whose pickle calls a function, as malicious files do."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Calls(os.system, "touch pwned"), "posix.system"),
        (Calls(builtins.eval, "1"), "builtins.eval"),
        (Calls(builtins.exec, "1"), "builtins.exec"),
        (Calls(builtins.getattr, Calls, "x"), "builtins.getattr"),
        (Calls(subprocess.Popen, "true"), "subprocess.Popen"),
        (Calls(torch.load, "x"), "torch.serialization.load"),
        (Calls(torch.hub.load, "x"), "torch.hub.load"),
        (Path("/etc/passwd"), "pathlib.PosixPath"),
        (Counter("aa"), "collections.Counter"),
        (defaultdict(list), "collections.defaultdict"),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "torch.device"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (copyreg._reconstructor, "copyreg._reconstructor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_that_is_no_part_of_a_state_dict_is_refused(protocol, value, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = pickle.dumps({"a": value}, protocol)
    with pytest.raises(ValueError, match=r"at byte \d.* of its pickle: it names (__builtin__|[\w.]+)\.\w+, which"):
        describe(stream)
    if protocol == 4:
        with pytest.raises(ValueError, match=named):
            describe(stream)
    assert list(tmp_path.iterdir()) == []


SYSTEM = b"cposix\nsystem\n"
ORDERED = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"(S'true'\niposix\nsystem\n.", "the instruction 0x53"),
        (b"(iposix\nsystem\n.", "the instruction INST"),
        (b"(" + ORDERED + b"o.", "the instruction OBJ"),
        (ORDERED + b")\x81.", "the instruction NEWOBJ"),
        (ORDERED + b")}\x92.", "the instruction NEWOBJ_EX"),
        (b"\x82\x01.", "the instruction EXT1"),
        (b"\x83\x01\x00.", "the instruction EXT2"),
        (b"\x84\x01\x00\x00\x00.", "the instruction EXT4"),
        (b"\x8c\x05posix\x8c\x06system\x93.", r"it names posix\.system"),
        (b"\x8c\x09torch.hub\x8c\x04load\x93.", r"it names torch\.hub\.load"),
        (b"K\x01K\x02\x93.", "a name is put together from something else than text"),
        (b"ctorch\nFloatStorage\n)R.", r"torch\.FloatStorage is called"),
        (b"}}b.", "something is added to a dict"),
        (ORDERED + b"}b.", "something is added to a Global"),
        (ORDERED + b"(KK\x85R.", "is damaged"),
        (ORDERED + b"K\x01\x85R.", "an OrderedDict is made with arguments"),
        (b"K\x01)R.", "a value is called"),
        (b"}K\x01\x85K\x02s.", "a dictionary has a tuple as a key"),
        (b"]K\x01K\x02s.", "something is added to a list"),
        (b"(K\x01.", "something left over"),
        (b"K\x01.K\x02", "something left over"),
        (b"N" * 10_001, "its stack grows"),
        (b"(" * 65, "its stack grows"),
        (b"]" + b"Na" * 300_000, "more than 262,144 instructions"),
        (b"h\x05.", "is damaged at byte 0"),
        (b"X\xff\xff\xff\xffabc", "is damaged at byte 0"),
        (b"X\x02\x00\x00\x00\xff\xff.", "can't decode"),
        (b"c" + b"a" * 2000 + b"\nb\n.", "is damaged at byte 0"),
        (b"a.", "is damaged at byte 0"),
        (b"", "is damaged at byte 0"),
        (bytes(17 * 2**20), "its pickle has 17,825,792 bytes, expected at most 16,777,216"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_instructions_and_streams_that_are_refused(stream, message):
    with pytest.raises(ValueError, match=message):
        describe(stream)


def tensor_stream(offset=0, shape=(2, 3), stride=(3, 1), numel=6, key="0", kind=b"FloatStorage") -> bytes:
    """What torch.save writes for one tensor."""

    def plain(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"")

    storage = b"(" + plain("storage") + b"ctorch\n" + kind + b"\n" + plain(key) + plain("cpu") + plain(numel) + b"tQ"
    arguments = b"(" + storage + plain(offset) + plain(shape) + plain(stride) + b"\x89" + ORDERED + b")Rt"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R."


def test_a_tensor_is_described_by_where_it_lies():
    assert describe(tensor_stream()) == StoredTensor(Storage("0", "float32", 6), 0, (2, 3))
    assert describe(tensor_stream(shape=(1, 6), stride=(99, 1))).shape == (1, 6)  # a stride nobody follows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": (0, 0)}, r"has the stride \(0, 0\), expected \(3, 1\)"),
        ({"stride": (1, 2)}, "save it contiguous"),
        ({"stride": (3,)}, "save it contiguous"),
        ({"offset": 1}, r"a tensor of shape \(2, 3\) at 1 leaves its storage of 6 elements"),
        ({"offset": -1}, "an offset is no tuple"),
        ({"offset": True}, "an offset is no tuple"),
        ({"shape": (2**40, 2**40), "stride": (2**40, 1)}, "leaves its storage of 6"),
        ({"shape": (-2, -3)}, "a shape is no tuple of up to 8 integers"),
        ({"shape": (1,) * 9, "stride": (1,) * 9}, "a shape is no tuple of up to 8 integers"),
        ({"shape": (2.0, 3.0)}, "a shape is no tuple"),
        ({"numel": 2**63}, "a storage is described in a way"),
        ({"numel": True}, "a storage is described in a way"),
        ({"key": "../0"}, "a storage is described in a way"),
        ({"key": "9" * 21}, "a storage is described in a way"),
        ({"kind": b"UntypedStorage"}, r"it names torch\.UntypedStorage"),
    ],
    ids=str,
)
def test_tensors_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        describe(tensor_stream(**change))


def test_a_pickle_bomb_stays_small():
    """Ten lists, each nine times in the next: 9**9 elements for whoever follows them, ten objects in memory."""
    levels = b"".join(b"](" + b"h%c" % n * 9 + b"eq%c" % (n + 1) for n in range(9))
    assert len(describe(b"(]q\x00" + levels + b"t.")) == 10
