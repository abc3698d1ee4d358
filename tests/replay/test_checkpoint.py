from ibtrack.replay.checkpoint import Checkpoint, File


def test_its_bytes_are_those_of_its_files() -> None:
    assert Checkpoint("step1", "runs/a", 1, files=(File("a", 3), File("b", 4, "0" * 64))).num_bytes == 7
    assert Checkpoint("step1", "runs/a", 1).num_bytes == 0


def test_a_point_is_called_by_name_and_commit() -> None:
    assert Checkpoint("main", "owner/name", None, commit="0123456789abcdef").label == "main@01234567"
    assert Checkpoint("checkpoint-4", "runs/a", 4).label == "checkpoint-4"
