"""What a trial leaves on disk: a folder that is whole, or is gone on with."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.core.files import write_text


@dataclass
class Kept:
    """A folder of plain data.

    Attributes:
        path: Made where something is written.
    """

    path: Path

    def write(self, name: str, content: Mapping[str, Any] | list[Any]) -> None:
        """Keep plain data under a name, in one step."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / f"{name}.json", json.dumps(content))

    def read(self, name: str) -> Any:
        """What `write` kept; None where there is none."""
        path = self.path / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else None


class TrialFolder(Kept):
    """The folder of one trial, within the folder of the run.

    Args:
        run: Folder of the run.
        arm: Place of the arm among the arms.
        replicate: 0, 1, ...
    """

    def __init__(self, run: Path, arm: int, replicate: int) -> None:
        super().__init__(run / f"arm{arm}-replicate{replicate}")
        self._of_all = run / f"replicate{replicate}"

    @property
    def shared(self) -> Kept:
        """What all arms of the replicate have in common."""
        return Kept(self._of_all)

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer keeps what it goes on from."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far."""
        return self.path / "best"

    def last_checkpoint(self) -> str | None:
        """The newest one that is whole: the Trainer writes its state last."""
        found = [
            path
            for path in self.checkpoints.glob("checkpoint-*")
            if (path / "trainer_state.json").is_file() and path.name[11:].isdigit()
        ]
        return str(max(found, key=lambda path: int(path.name[11:]))) if found else None

    def keep_best(self, model: Any) -> None:
        """Put the weights of `model` in place of those kept so far, in one step."""
        draft = self.path / "best.part"
        shutil.rmtree(draft, ignore_errors=True)
        model.save_pretrained(draft, safe_serialization=True)
        shutil.rmtree(self.best, ignore_errors=True)
        draft.rename(self.best)

    def drop_checkpoints(self) -> None:
        """They are not needed when the trial is done."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
