"""What the tests of fine-tuning share: a small model and conversations in a folder."""

from pathlib import Path

import pytest

from support_language_models import write_chats, write_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ``model/`` and ``chats.jsonl``; nobody writes into it."""
    path: Path = tmp_path_factory.mktemp("finetuning")
    write_chats(path / "chats.jsonl")
    write_model(path / "model")
    return path
