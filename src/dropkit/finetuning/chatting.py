"""Talk to a fine-tuned model, with what its sub-networks think of each answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import dropkit
from dropkit.errors import DataError, MissingExtraError, OptionError, SiteError
from dropkit.finetuning.models import load_model, load_tokenizer, old_names
from dropkit.finetuning.settings import Settings
from dropkit.uncertainty import Disagreement, disagreement

_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        text: What the model says, all dropout off; greedy.
        disagreement: Of its sub-networks over this question; None where they were not asked.
    """

    text: str
    disagreement: Disagreement | None


class Chat:
    """A conversation with a model; what was said is kept until the context is full.

    Args:
        model: A causal language model of transformers, or one within PEFT.
        tokenizer: Its own, with a chat template.
        samples: Sub-networks that are asked about each answer, at least 2; 0 asks none.
        longest: Tokens of an answer, at most.
        rate: At which they drop, in (0, 1]; 0 asks none.

    Raises:
        DataError: The tokenizer has no chat template.
        OptionError: `samples` is 1 or below 0.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        samples: int = 4,
        longest: int = 96,
        rate: float = 0.0,
    ) -> None:
        if samples < 0 or samples == 1:
            raise OptionError(f"`samples` must be 0 or at least 2; got {samples}.")
        if not tokenizer.chat_template:
            raise DataError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, so it does not "
                "say how turns are written. Fine-tune with --chat-template, which keeps one."
            )
        self.model, self.tokenizer, self.longest = model.eval(), tokenizer, longest
        self.samples = samples if rate > 0.0 else 0
        self.rate = rate
        self.turns: list[dict[str, str]] = []

    @classmethod
    def load(cls, folder: Path, *, base: str | None = None, samples: int = 4) -> "Chat":
        """The model in `folder`: an adapter on the base that it names, or a whole model.

        Args:
            folder: As `dropkit finetune`, or PEFT, wrote it.
            base: In place of the base that the adapter names.
            samples: Sub-networks that are asked about each answer.

        Raises:
            OptionError: There is no such folder, or no such base.
            DataError: The adapter cannot be read, or the tokenizer has no chat template.
            MissingExtraError: transformers or peft is not installed.
        """
        if not folder.is_dir():
            raise OptionError(f"`ADAPTER` must be a folder that exists; got {str(folder)!r}.")
        if not (folder / _CONFIG).is_file():
            if not (folder / "config.json").is_file():
                raise OptionError(
                    f"`ADAPTER` must hold {_CONFIG} or a whole model; {str(folder)!r} has neither."
                )
            whole = load_model(Settings(model=str(folder), data=""))
            rate = max((site.rate or 0.0 for site in dropkit.find_sites(whole)), default=0.0)
            return cls(whole, load_tokenizer(str(folder)), samples=samples, rate=rate)
        model, rate, name = _adapted(folder, base)
        # PEFT alone writes no tokenizer beside an adapter.
        place = str(folder) if (folder / "tokenizer_config.json").is_file() else name
        return cls(model, load_tokenizer(place), samples=samples, rate=rate)

    def reply(self, text: str) -> Reply:
        """Answer `text`; both become part of the conversation, unless an error is raised.

        Raises:
            DataError: `text` alone is too long for the model's context.
        """
        turns = [*self.turns, {"role": "user", "content": text}]
        turns, inputs = self._fitted(turns)
        with torch.no_grad(), dropkit.silence(self.model):
            said = self.model.generate(  # type: ignore[operator]
                **inputs,
                max_new_tokens=self.longest,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            )
        ids = said[0, inputs["input_ids"].shape[1] :]
        answer = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        found = None
        if self.samples:
            found = disagreement(
                self.model,
                inputs,
                self.samples,
                max_new_tokens=max(1, len(ids)),
                decode=lambda tokens: self.tokenizer.decode(tokens, skip_special_tokens=True),
            )
        self.turns = [*turns, {"role": "assistant", "content": answer}]
        return Reply(answer, found)

    def _fitted(
        self, turns: list[dict[str, str]]
    ) -> tuple[list[dict[str, str]], dict[str, torch.Tensor]]:
        """The turns for which there is room, the oldest left out, and their tokens."""
        config: Any = self.model.config
        room = getattr(config, "max_position_embeddings", 2048) - self.longest
        while True:
            made = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            n_tokens = made["input_ids"].shape[1]
            if n_tokens <= room:
                break
            if len(turns) == 1:
                raise DataError(
                    f"a question must have at most {room} tokens, to leave room for an answer; "
                    f"got {n_tokens}."
                )
            turns = turns[2:]
        device = next(self.model.parameters()).device
        return turns, {name: x.to(device) for name, x in made.items() if name != "token_type_ids"}


def _adapted(folder: Path, base: str | None) -> tuple[nn.Module, float, str]:
    """The adapter in `folder` on its base, the rate that it was trained with, the base's name."""
    try:
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        name, rate = base or config["base_model_name_or_path"], float(config["lora_dropout"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the adapter in {str(folder)!r} cannot be read: {error}.") from error
    try:
        import peft  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("adapters need peft: pip install 'dropkit[finetune]'.") from error
    model = load_model(Settings(model=str(name), data=""))
    try:
        with old_names():
            adapted: nn.Module = peft.PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the adapter in {str(folder)!r} does not fit {name!r}: {reason}"
        ) from error
    if rate > 0.0:
        try:
            dropkit.set_rates(adapted, {"*lora_dropout*": rate, "*": 0.0})
        except SiteError:
            rate = 0.0
    return adapted, rate, str(name)
