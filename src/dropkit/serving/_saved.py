"""A frozen model in a folder: weights and proof, both or neither."""

import hashlib
import json
import secrets
import warnings
from pathlib import Path
from typing import Any

from torch import nn

from dropkit.core.files import write_text
from dropkit.errors import MissingExtraError, OptionError

WEIGHTS, PROOF = "model.safetensors", "freeze.json"
_OF_TRANSFORMERS = {"config": "config.json", "generation_config": "generation_config.json"}
_CHUNK = 1 << 20


def save_frozen(model: nn.Module, proof: dict[str, Any], folder: Path) -> Path:
    """Write `model` and `proof` to `folder`; see `Frozen.save`."""
    try:
        from safetensors.torch import save_model  # noqa: PLC0415 - belongs to an extra
    except ImportError as error:
        message = "saving a frozen model needs safetensors: pip install 'dropkit[serving]'."
        raise MissingExtraError(message) from error
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"`folder` must be a folder or a new name; {str(folder)!r} is a file.")
    draft = folder / f".{WEIGHTS}.{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on torch's storages, by some versions of safetensors
            save_model(model, str(draft), metadata={"format": "pt"})
        document = proof | {"weights": WEIGHTS, "sha256": _sha256(draft)}
        (folder / PROOF).unlink(missing_ok=True)
        draft.replace(folder / WEIGHTS)
        for attribute, name in _OF_TRANSFORMERS.items():
            config: Any = getattr(model, attribute, None)
            if hasattr(config, "to_json_string"):
                write_text(folder / name, config.to_json_string())
        write_text(folder / PROOF, json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise OptionError(
            f"`folder` must be one that can be written to; {str(folder)!r} cannot: "
            f"{error.strerror or error}."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return folder


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
