"""The queries of clinc150: 150 intents, and queries that belong to none.

``data_full.json`` of Larson et al. 2019 (EMNLP, arXiv:1909.02027; CC BY 3.0) holds lists of query and
intent, https://github.com/clinc/oos-eval.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dropkit.errors import DataError

_IN_SCOPE = ("train", "val", "test")
_OUT_OF_SCOPE = ("oos_train", "oos_val", "oos_test")


@dataclass(frozen=True)
class Queries:
    """Texts, and the number of each one's intent; -1 where it has none."""

    texts: list[str]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def by_length(self, size: int) -> Iterator[Tensor]:
        """Positions in batches of at most `size`, short texts first: little is padded."""
        order = sorted(range(len(self)), key=lambda k: len(self.texts[k]))
        yield from torch.tensor(order).split(size)

    def __add__(self, other: "Queries") -> "Queries":
        return Queries(self.texts + other.texts, torch.cat([self.labels, other.labels]))


def load(file: Path) -> tuple[dict[str, Queries], list[str]]:
    """The parts by name, and the names of the intents.

    No model is trained on queries without an intent. So those of ``oos_train`` are put to those of
    ``oos_val``.

    Raises:
        DataError: The file is not as described above.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        intents = sorted({intent for _, intent in found["train"]})
        number = {intent: k for k, intent in enumerate(intents)}
        parts = {
            name: Queries(
                [text for text, _ in found[name]],
                torch.tensor(
                    [number[intent] if name in _IN_SCOPE else -1 for _, intent in found[name]]
                ),
            )
            for name in (*_IN_SCOPE, *_OUT_OF_SCOPE)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{str(file)!r} must be clinc150's data_full.json; {error!r}.") from error
    parts["oos_val"] = parts.pop("oos_train") + parts["oos_val"]
    return parts, intents
