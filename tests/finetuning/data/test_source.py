"""Dataset folders and Parquet: which rows they have, and what is refused."""

import re
import sys
from pathlib import Path

import datasets
import pytest

from dropkit.errors import DataError, MissingExtraError
from dropkit.finetuning.data import read_conversations, read_labelled

TURNS = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Bars of progress are no part of a test."""
    datasets.disable_progress_bars()


@pytest.fixture
def chats() -> datasets.Dataset:
    """Two rows, one with an id."""
    return datasets.Dataset.from_list(
        [{"messages": TURNS, "id": None}, {"messages": TURNS, "id": "two"}]
    )


@pytest.fixture
def labelled() -> datasets.Dataset:
    """Two texts whose classes are kept as numbers."""
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    return datasets.Dataset.from_dict(
        {"text": ["a", "b"], "label": [1, 0]}, features=datasets.Features(kinds)
    )


def places(path: Path) -> list[tuple[str, str]]:
    """Id and place of each conversation."""
    return [(each.id, each.where) for each in read_conversations(path)]


def test_saved_dataset_is_read(tmp_path: Path, chats) -> None:
    """What `save_to_disk` wrote; rows count from 1."""
    chats.save_to_disk(tmp_path / "saved")
    assert [("saved:1", "saved:1"), ("two", "saved:2")] == places(tmp_path / "saved")


def test_saved_rows_are_those_that_were_chosen(tmp_path: Path, chats) -> None:
    """A selection is saved as such."""
    chats.select([1]).save_to_disk(tmp_path / "saved")
    assert [("two", "saved:1")] == places(tmp_path / "saved")


def test_one_part_is_taken(tmp_path: Path, chats) -> None:
    """A dataset of one part is that part; of several, the user names one."""
    datasets.DatasetDict({"train": chats}).save_to_disk(tmp_path / "one")
    assert "two" == places(tmp_path / "one")[1][0]
    datasets.DatasetDict({"test": chats, "train": chats}).save_to_disk(tmp_path / "both")
    assert "two" == places(tmp_path / "both" / "test")[1][0]
    message = (
        f"`{tmp_path / 'both'}` must hold one part of a dataset; got test, train. Name one, such "
        f"as `{tmp_path / 'both' / 'train'}`."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(tmp_path / "both")


def test_folder_of_files_is_read(tmp_path: Path, chats) -> None:
    """As the hub has them: in order, with what is no data left alone."""
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("# Chats")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "old.jsonl").write_text("{}")
    chats.to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    (tmp_path / "data" / "train-00001-of-00002.csv").write_text("question,answer\na,b\n")
    first, second = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.csv"
    assert [
        (f"{first}:1", f"{first}:1"),
        ("two", f"{first}:2"),
        (f"{second}:2", f"{second}:2"),
    ] == (places(tmp_path))


def test_folder_of_several_parts_is_refused(tmp_path: Path) -> None:
    """Nobody learns from the test set by accident."""
    (tmp_path / "chats_train.jsonl").write_text("{}")
    (tmp_path / "chats_test.jsonl").write_text("{}")
    message = (
        f"`{tmp_path}` must hold one part of a dataset; got test, train. Name a file, or a folder "
        "with one of them."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(tmp_path)


def test_folder_without_data_is_refused(tmp_path: Path) -> None:
    """It says what it looked for."""
    message = (
        f"`{tmp_path}` must hold a dataset: *.jsonl, *.csv or *.parquet files, or what "
        "`save_to_disk` of the package datasets writes; got none of them."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(tmp_path)


def test_bad_rows_are_refused(tmp_path: Path, chats) -> None:
    """With their numbers, and what stands there."""
    chats.add_item({"messages": TURNS[:1], "id": "three"}).to_parquet(tmp_path / "chats.parquet")
    message = (
        f"`{tmp_path / 'chats.parquet'}` has 1 bad line of 3; none was taken. chats.parquet:3 has "
        "no turn of the assistant, so there is nothing to learn: "
        "\"messages: [{'role': 'user', 'content': '...\"."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(tmp_path / "chats.parquet")


def test_classes_have_their_names(tmp_path: Path, labelled) -> None:
    """A dataset's class numbers are read as what they stand for."""
    labelled.save_to_disk(tmp_path / "saved")
    labelled.to_parquet(tmp_path / "texts.parquet")
    for path in (tmp_path / "saved", tmp_path / "texts.parquet"):
        assert [("a", "yes"), ("b", "no")] == [(x.text, x.label) for x in read_labelled(path)]


def test_half_a_dataset_is_refused(tmp_path: Path, chats) -> None:
    """A file that was cut off, or is missing, in one sentence."""
    parquet = tmp_path / "chats.parquet"
    chats.to_parquet(parquet)
    parquet.write_bytes(parquet.read_bytes()[:200])
    message = (
        f"`{parquet}` cannot be read as Parquet: Parquet magic bytes not found in footer. Either "
        "the file is corrupted or this is not a parquet file."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(parquet)
    saved = tmp_path / "saved"
    chats.save_to_disk(saved)
    [arrow] = saved.glob("*.arrow")
    arrow.unlink()
    message = (
        f"`{saved}` cannot be read as a dataset: [Errno 2] No such file or directory: '{arrow}'."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(saved)


def test_missing_package_is_named(tmp_path: Path, monkeypatch, chats) -> None:
    """With what to install."""
    chats.save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = "a dataset folder or Parquet needs datasets: pip install 'dropkit[finetune]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        read_conversations(tmp_path / "saved")
