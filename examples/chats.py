"""Real conversations as a file that `dropkit finetune` reads.

    python examples/chats.py chats.jsonl

writes 300 conversations between two people, of the package chitchat-dataset (MIT; the Chit-Chat
Challenge of BYU, 2018). Who speaks first becomes the user, the other one the assistant; what one of
them writes in a row is one turn. With ``--pairs`` it writes questions to a chatbot and their first
answers instead, of the package chatterbot-corpus (BSD-3). With ``--tokenizer FOLDER`` it says what
they become when a model learns from them: a fifth is held out, each is cut at 512 tokens.

It needs

    pip install chitchat-dataset chatterbot-corpus pyyaml
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import yaml

from dropkit.finetuning.data import encode, read_conversations, split, summarize

CHATS = "chitchat_dataset/dataset.json"
PAIRS = "chatterbot_corpus/data/english"
FEWEST_TURNS = 4
MOST_TURNS = 12
FEWEST_WORDS = 4  # a turn of the assistant, on average: less teaches to say "yeah"
REPEATED = "tech_support"  # ten pairs, a hundred times


def chats() -> Iterator[dict[str, object]]:
    """Conversations of two people, each of some turns and with something to say."""
    file = Path(str(metadata.distribution("chitchat-dataset").locate_file(CHATS)))
    content = json.loads(file.read_text(encoding="utf-8"))
    for name, chat in sorted(content.items()):
        turns = list(_turns(chat["messages"]))[:MOST_TURNS]
        turns = turns[: len(turns) - len(turns) % 2]  # the assistant has the last word
        words = sum(len(text.split()) for _, text in turns[1::2])
        if len(turns) >= FEWEST_TURNS and words >= FEWEST_WORDS * len(turns) / 2:
            roles = {turns[0][0]: "user"}
            yield {
                "id": name,
                "messages": [
                    {"role": roles.get(sender, "assistant"), "content": text}
                    for sender, text in turns
                ],
            }


def pairs() -> Iterator[dict[str, object]]:
    """What people ask a chatbot, and what it says; a question may have several answers."""
    folder = Path(str(metadata.distribution("chatterbot-corpus").locate_file(PAIRS)))
    seen = set()
    for path in sorted(folder.glob("*.yml")):
        if path.stem == REPEATED:
            continue
        for talk in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            pair = tuple(" ".join(str(text).split()) for text in talk[:2])
            if len(pair) == 2 and all(pair) and pair not in seen:
                seen.add(pair)
                yield {"question": pair[0], "answer": pair[1], "topic": path.stem}


def _turns(messages: list[list[dict[str, str]]]) -> Iterator[tuple[str, str]]:
    """Who said what, with all that one says in a row in one turn."""
    sender, texts = "", []
    for message in (message for group in messages for message in group):
        text = re.sub(r"\s+", " ", message["text"]).strip()
        if message["sender"] != sender and texts:
            yield sender, "\n".join(texts)
            texts = []
        sender = message["sender"]
        if text:
            texts.append(text)
    if texts:
        yield sender, "\n".join(texts)


def told(file: Path, folder: str) -> Iterator[str]:
    """What becomes of the file, in numbers."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes seconds, and is seldom asked for

    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = split(read_conversations(file))
    train, held_out = (
        encode(part, tokenizer, max_length=512, if_all_cut="leave out")
        for part in (parts.train, parts.held_out)
    )
    summary = summarize(parts, train, held_out, tokenizer).to_dict()
    for name in ("train", "held_out", "split"):
        yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in summary[name].items())


def main() -> None:
    """Write the file, and say what is in it."""
    parser = argparse.ArgumentParser(description="Write real conversations as JSON lines.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--pairs", action="store_true", help="questions and answers instead")
    parser.add_argument("--number", type=int, default=300, help="of conversations, at most")
    parser.add_argument("--seed", type=int, default=0, help="draws others")
    parser.add_argument("--tokenizer", help="a model's folder")
    options = parser.parse_args()
    found = list(pairs() if options.pairs else chats())
    drawn = random.Random(options.seed).sample(found, min(options.number, len(found)))  # noqa: S311 - no secret
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in drawn]
    options.file.write_text("".join(lines), encoding="utf-8")
    print(f"{options.file}: {len(drawn)} of {len(found)} conversations")
    for line in told(options.file, options.tokenizer) if options.tokenizer else ():
        print(line)


if __name__ == "__main__":
    main()
