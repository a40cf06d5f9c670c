import errno
import os
from pathlib import Path

import pytest

from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.storage import Storage
from glassgpt.training.torture.faulty import Call, Watched
from glassgpt.training.torture.savers import content, facts
from glassgpt.weights.checkpoint import Checkpoint, CorruptCheckpoint


def save(checkpoints: Checkpoints, *steps: int, **changes: object) -> None:
    for step in steps:
        files = {name: [data] for name, data in content(step).items()}
        checkpoints.commit(step, files, facts() | changes)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def damage(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_bytes(b"{}")


def test_a_commit_is_a_directory_with_a_manifest(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() is None
        save(checkpoints, 1)
    checkpoint = Checkpoint.open(tmp_path / "step-00000001")
    checkpoint.verify()
    manifest = checkpoint.manifest
    assert {name: file.bytes for name, file in manifest.files.items()} == {n: len(c) for n, c in content(1).items()}
    assert manifest.tensors["block.0.weight"].model_dump() == {
        "file": "model.safetensors",
        "dtype": "F32",
        "shape": [64, 48],
    }
    assert names(tmp_path) == ["step-00000001"]
    assert (tmp_path / "step-00000001").stat().st_mode & 0o777 == 0o700


def test_each_commit_names_its_parent(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    one, two = (Checkpoint.open(path).manifest for path in sorted(tmp_path.glob("step-*")))
    assert one.parent is None
    assert two.parent is not None
    assert (two.parent.step, two.parent.digest) == (1, one.digest)

    with Checkpoints(tmp_path) as checkpoints:
        resumed = checkpoints.newest()
        assert resumed is not None
        save(checkpoints, 3)
    parent = Checkpoint.open(tmp_path / "step-00000003").manifest.parent
    assert parent is not None
    assert parent.digest == resumed.manifest.digest


def test_a_committed_step_is_not_overwritten(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        with pytest.raises(ValueError, match="step-00000001 is committed already"):
            save(checkpoints, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_not_saved(tmp_path: Path, value: float) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match=r"metrics\.loss: .*finite"):
            save(checkpoints, 1, metrics={"loss": value, "grad_norm": 1.0})
        assert names(tmp_path) == []


def test_file_names_cannot_leave_the_checkpoint(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for name in ("../escaped", "/tmp/escaped", "training/../../escaped"):
            with pytest.raises(ValueError, match="files"):
                checkpoints.commit(1, {name: [b""]}, facts())
    assert names(tmp_path) == ["checkpoints"]


def test_two_files_cannot_hold_one_tensor(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        weights = content(1)["model.safetensors"]
        files = {"model.safetensors": [weights], "training/optimizer.safetensors": [weights]}
        with pytest.raises(
            ValueError, match=r"optimizer\.safetensors holds tensors that another file holds too: block"
        ):
            checkpoints.commit(1, files, facts())
        assert names(tmp_path) == []


def test_rotation_keeps_the_newest_and_the_pinned(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2, keep_every=4) as checkpoints:
        save(checkpoints, *range(1, 8))
    assert names(tmp_path) == ["step-00000004", "step-00000006", "step-00000007"]


def test_rotation_does_not_count_damaged_checkpoints(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2, 3)
    damage(tmp_path / "step-00000003")
    with Checkpoints(tmp_path) as checkpoints:
        resumed = checkpoints.newest()
        assert resumed is not None
        assert resumed.step == 2
        save(checkpoints, 4)
        assert names(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]
        save(checkpoints, 5)
        assert names(tmp_path) == ["step-00000004", "step-00000005"]


def test_rotation_hashes_what_an_earlier_process_left(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    damage(tmp_path / "step-00000002")
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 3)
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]


def test_a_run_that_fell_back_passes_the_damaged_step_again(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    damage(tmp_path / "step-00000002")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.newest()
        save(checkpoints, 2)
        newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 2
    assert [name for name in names(tmp_path) if name.startswith("rejected-step-00000002-")]


def test_no_fresh_start_over_damaged_checkpoints(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        damage(tmp_path / "step-00000001")
        with pytest.raises(CorruptCheckpoint, match=r"step-00000001: config\.json"):
            checkpoints.newest()


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    for name in (".stage-00000007-0123abcd", ".trash-00000003-0123abcd"):
        (tmp_path / name / "training").mkdir(parents=True)
        (tmp_path / name / "training" / "state.json").write_text("{")
    with Checkpoints(tmp_path):
        assert names(tmp_path) == []


def test_leftovers_are_removed_without_following_links(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    stage = tmp_path / "checkpoints" / ".stage-00000001-0123abcd"
    stage.mkdir(parents=True)
    (stage / "link").symlink_to(precious)
    (stage / "folder").symlink_to(tmp_path)
    with Checkpoints(tmp_path / "checkpoints"):
        pass
    assert precious.read_text() == "data"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Checkpoints(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()}"), Checkpoints(tmp_path):
        pass


def test_one_is_too_few_to_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep at least 2"):
        Checkpoints(tmp_path, keep=1)


class Room(Storage):
    """A disk with a given number of bytes free."""

    def __init__(self, free: int) -> None:
        self.room = free

    def free(self, path: Path) -> int:
        return self.room


MIB = 2**20


def test_preflight_wants_room_for_two(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    size, margin = 100 * MIB, 64 * MIB
    needs = "276,824,063 bytes free, two checkpoints need 276,824,064"
    with (
        Checkpoints(tmp_path, storage=Room(2 * size + margin - 1)) as checkpoints,
        pytest.raises(ValueError, match=needs),
    ):
        checkpoints.preflight(size)
    with Checkpoints(tmp_path, storage=Room(2 * size + margin)) as checkpoints:
        checkpoints.preflight(size)
    assert "keeping 2 checkpoints while writing another needs 381,681,664" in caplog.text
    caplog.clear()
    with Checkpoints(tmp_path, storage=Room(3 * size + margin)) as checkpoints:
        checkpoints.preflight(size)
    assert not caplog.records


def test_a_save_without_room_is_refused_before_it_begins(tmp_path: Path) -> None:
    storage = Room(1000 * MIB)
    with Checkpoints(tmp_path, storage=storage) as checkpoints:
        checkpoints.preflight(100 * MIB)
        save(checkpoints, 1)
        storage.room = 10 * MIB
        with pytest.raises(OSError, match=r"step 2 could not be saved.*needed.* bytes, free: 10,485,760") as failure:
            save(checkpoints, 2)
        assert failure.value.errno == errno.ENOSPC
        assert names(tmp_path) == ["step-00000001"]


def test_a_disk_that_cannot_sync_directories_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def watch(call: Call) -> object:
        if call.name == "sync_directory":
            raise OSError(errno.EINVAL, "Invalid argument")
        return call.make(*call.arguments)

    with Checkpoints(tmp_path, storage=Watched(watch)) as checkpoints:
        save(checkpoints, 1)
    assert "durability is not guaranteed" in caplog.text
    assert names(tmp_path) == ["step-00000001"]


def test_an_old_checkpoint_that_cannot_be_deleted_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def watch(call: Call) -> object:
        if call.name == "rename" and call.arguments[1].name.startswith(".trash-00000001"):
            raise OSError(errno.EACCES, "Permission denied")
        return call.make(*call.arguments)

    with Checkpoints(tmp_path, storage=Watched(watch)) as checkpoints:
        save(checkpoints, 1, 2, 3)
    assert "step-00000001 cannot be deleted" in caplog.text
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]


def test_nothing_is_written_around_the_storage(tmp_path: Path) -> None:
    """What the torture can fail is all there is: without the calls of the storage, nothing changes but the lock."""
    watched = Watched(lambda call: 10**9 if call.name == "write" else None)
    with pytest.raises(FileNotFoundError), Checkpoints(tmp_path, storage=watched):
        pass
    assert names(tmp_path) == []
