"""Tokens with the loss where the model has to write: found right under any template, or refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropkit.errors import DataError, OptionError
from dropkit.finetuning.data import (
    NO_LOSS,
    PLAIN_TEMPLATE,
    Conversation,
    Encoded,
    Message,
    encode,
    read_template,
)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
#: As Qwen 3's: thoughts are shown in the last turn and left out of all before it.
THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: As DeepSeek R1's: the prompt begins a thought, which no turn has to have.
PROMPTED_THOUGHT = CHATML.replace("assistant\n'", "assistant\n<think>\n'")
#: As Phi 3's: whatever is written without a prompt for an answer ends with the end of a text.
CLOSED = CHATML.replace("{% endif %}", "{% else %}{{ bos_token }}{% endif %}")
#: Turns that nothing stands between.
DENSE = CHATML.replace("<|im_end|>\n", "<|im_end|>")
MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: Knows no prompt for an answer, so that the model has to write the head of its turn, too.
NO_PROMPT = (
    "{% for message in messages %}"
    "{{ '### ' + message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
)
#: Ends a text only once.
END_ONCE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{{ eos_token if loop.last else '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
#: Ends an answer in another way where it is the last.
LAST_IS_OTHER = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{{ eos_token if loop.last and message['role'] == 'assistant' else '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
#: Writes less of an answer once more follows, and in the letters of all else.
OVERLAPPING = (
    "{% for message in messages %}"
    "{{ 'aaaaaaaaa' if loop.last and message['role'] == 'assistant' else 'a' }}{% endfor %}"
)
#: Cannot write a prompt.
NO_QUESTION = (
    "{% if messages[-1]['role'] == 'user' %}{{ raise_exception('Who answers?') }}{% endif %}"
)
#: Begins in another way when more follows.
COUNTING = "{{ (messages | length + 1) // 2 }}" + CHATML
#: Writes the last turn first.
BACKWARDS = (
    "{% for message in messages | reverse %}{{ message['content'] + '<|im_end|>' }}{% endfor %}"
)
SHOUTING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['content'] | upper }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>' }}{% endif %}"
)
STRICT = (
    "{% if messages[0]['role'] != 'user' %}"
    "{{ raise_exception('Conversation must begin with the user.') }}{% endif %}"
)


def talk(*contents: str, first: str = "user", where: str = "chats.jsonl:1") -> Conversation:
    """The user and the assistant by turns."""
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    messages = tuple(Message(roles[k % 2], content) for k, content in enumerate(contents))
    return Conversation(where, messages, where)


@pytest.fixture
def chatml(new_tokenizer) -> Any:
    """Bytes, and ChatML."""
    return new_tokenizer(CHATML)


def learned(tokenizer, encoded: Encoded) -> list[str]:
    """What stands under the loss, piece by piece; the labels are the tokens there."""
    pieces: list[list[int]] = [[]]
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        assert label in (token, NO_LOSS)
        if label == NO_LOSS:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return [tokenizer.decode(piece) for piece in pieces if piece]


CHAT = talk("Hello there?", "I am fine.", "Paris?", "of course")
END = "<|im_end|>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, [f"I am fine.{END}", f"of course{END}"]),
        (MARKED, [f"I am fine.{END}", f"of course{END}"]),
        (LLAMA_2, [f" I am fine. {END}", f" of course {END}"]),
        (THINKING, [f"I am fine.{END}", f"<think>\n\n</think>\n\nof course{END}"]),
        (PROMPTED_THOUGHT, [f"I am fine.{END}", f"of course{END}"]),
        (CLOSED, [f"I am fine.{END}", f"of course{END}"]),
        (DENSE, [f"I am fine.{END}", f"of course{END}"]),
        (NO_PROMPT, ["### assistant: I am fine.\n", "### assistant: of course\n"]),
        (SHOUTING, [f"I AM FINE.{END}", f"OF COURSE{END}"]),
        (PLAIN_TEMPLATE, [f"I am fine.{END}", f"of course{END}"]),
    ],
)
def test_loss_is_on_what_the_model_writes(new_tokenizer, template, expected) -> None:
    """From the end of the prompt to the end mark, template by template."""
    tokenizer = new_tokenizer(template)
    [encoded] = encode([CHAT], tokenizer, max_length=1000)
    assert expected == learned(tokenizer, encoded)
    turns = [{"role": each.role, "content": each.content} for each in CHAT.messages]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    assert (whole, 0, "chats.jsonl:1") == (
        tokenizer.decode(encoded.input_ids),
        encoded.n_cut,
        encoded.id,
    )


@pytest.mark.parametrize("template", [LLAMA_2, CHATML])
def test_tokenizer_with_a_space_of_its_own(new_tokenizer, template) -> None:
    """A tokenizer that puts a space before a text puts none before each answer."""
    tokenizer = new_tokenizer(template, "metaspace")
    [encoded] = encode([CHAT], tokenizer, max_length=1000)
    turns = [{"role": each.role, "content": each.content} for each in CHAT.messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == encoded.input_ids
    space = " " if template == LLAMA_2 else ""
    assert [f"I am fine.{space}{END}", f"of course{space}{END}"] == [
        piece.strip() for piece in learned(tokenizer, encoded)
    ]


CONTENT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("ab <>|\n\t?"),
    min_size=1,
).filter(lambda text: text.strip() and END not in text and "<|" not in text)


@settings(max_examples=60)
@given(contents=st.lists(CONTENT, min_size=1, max_size=4).map(lambda xs: [*xs, *xs[: len(xs) % 2]]))
@pytest.mark.parametrize("template", [CHATML, MARKED, PLAIN_TEMPLATE])
def test_any_text_comes_back(new_tokenizer, template, contents) -> None:
    """What is under the loss spells the answers with their marks, whatever they say."""
    tokenizer = new_tokenizer(template)
    [encoded] = encode([talk(*contents)], tokenizer, max_length=100_000)
    under_loss = "".join(learned(tokenizer, encoded))
    if template != MARKED:  # there a token may hold the end of the prompt, as transformers marks it
        assert "".join(f"{answer}{END}" for answer in contents[1::2]) == under_loss
    else:
        assert under_loss.lstrip() == "".join(f"{x}{END}" for x in contents[1::2]).lstrip()


def test_prompt_has_the_tokens_it_has_in_use(chatml) -> None:
    """Even where an answer begins with white space that the prompt's end would swallow."""
    conversation = talk("Hello", "\n\nParis")
    [encoded] = encode([conversation], chatml, max_length=1000)
    prompt = chatml.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_dict=False
    )
    assert (prompt, NO_LOSS) == (
        encoded.input_ids[: len(prompt)],
        encoded.labels[len(prompt) - 1],
    )
    assert NO_LOSS != encoded.labels[len(prompt)]


def test_greeting_is_learned(new_tokenizer, chatml) -> None:
    """An assistant may speak first."""
    greeting = talk("I am fine.", "Hello", "of course", first="assistant")
    for tokenizer in (chatml, new_tokenizer(MARKED)):
        [encoded] = encode([greeting], tokenizer, max_length=1000)
        assert f"I am fine.{END}" == learned(tokenizer, encoded)[0][-len(f"I am fine.{END}") :]


def test_loss_on_all(new_tokenizer) -> None:
    """Every token, whatever the template."""
    tokenizer = new_tokenizer(BACKWARDS)
    [encoded] = encode([CHAT], tokenizer, max_length=1000, loss_on="all")
    assert encoded.labels == encoded.input_ids
    assert encoded.n_loss == len(encoded.input_ids) - 1


def test_nothing_becomes_nothing(chatml) -> None:
    """A part without conversations has no tokens, and that is no fault."""
    assert [] == encode([], chatml, max_length=9)


def test_cut_is_counted(chatml) -> None:
    """The beginning is kept, and what is cut is a number."""
    [whole] = encode([CHAT], chatml, max_length=1000)
    n = len(whole.input_ids)
    [cut] = encode([CHAT], chatml, max_length=n - 5)
    assert (whole.input_ids[:-5], whole.labels[:-5], 5) == (cut.input_ids, cut.labels, cut.n_cut)
    [exact] = encode([CHAT], chatml, max_length=n)
    assert whole == exact


def test_answer_that_is_cut_is_refused(chatml) -> None:
    """Unless the caller says that it may be left out."""
    long = talk("Hello " * 50, "Paris", where="chats.jsonl:2")
    n = len(encode([long], chatml, max_length=1000)[0].input_ids)
    message = (
        "1 of 2 conversations cannot be learned from; none was taken. chats.jsonl:2 has no answer "
        f"within its first 40 of {n} tokens: 'Hello Hello Hello Hello Hello Hello Hell...'."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode([CHAT, long], chatml, max_length=40)
    kept = encode([CHAT, long], chatml, max_length=40, if_all_cut="leave out")
    assert ["chats.jsonl:1"] == [each.id for each in kept]
    message = "no conversation has an answer within its first 40 tokens. Raise `max_length`."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode([long], chatml, max_length=40, if_all_cut="leave out")


UNPLACED = (
    "has an answer (message 2) that cannot be found in what the chat template writes: put "
    "{% generation %} and {% endgeneration %} around answers in the template, or learn from all "
    "turns (loss_on='all')"
)


@pytest.mark.parametrize(
    ("template", "conversation", "reason"),
    [
        (END_ONCE, CHAT, UNPLACED),
        (LAST_IS_OTHER, CHAT, UNPLACED),
        (OVERLAPPING, talk("a", "a", "a", "a"), UNPLACED.replace("2", "4")),
        (NO_QUESTION, CHAT, "cannot be written by the chat template: Who answers?"),
        (BACKWARDS, CHAT, UNPLACED),
        (COUNTING, CHAT, UNPLACED),
        (CHATML, talk("assistant", "a", "b", first="assistant"), UNPLACED.replace("2", "1")),
        (
            STRICT,
            talk("Paris", "Hello", "Paris", first="assistant"),
            "cannot be written by the chat template: Conversation must begin with the user",
        ),
        (
            "{% for message in messages if message['role'] == 'user' %}"
            "{{ message['content'] }}{% endfor %}",
            CHAT,
            "has an answer that the chat template leaves out (message 2)",
        ),
        (
            "{% for message in messages %}{{ message['content'] }}{% endfor %}"
            "{% if false %}{% generation %}{% endgeneration %}{% endif %}",
            CHAT,
            "has no answer between the template's {% generation %} marks",
        ),
    ],
)
def test_template_that_hides_answers_is_refused(
    new_tokenizer, template, conversation, reason
) -> None:
    """No loss is put where it might not belong."""
    first = conversation.messages[0].content
    message = (
        "1 of 1 conversations cannot be learned from; none was taken. "
        f"chats.jsonl:1 {reason}: {first!r}."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode([conversation], new_tokenizer(template), max_length=1000)


def test_token_on_both_sides_is_refused(new_tokenizer) -> None:
    """Where a tokenizer joins prompt and answer, and cannot write them one by one."""
    template = (
        "{% for message in messages %}{{ 'assistant: ' if message['role'] == 'assistant' }}"
        "{{ message['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    message = (
        "1 of 1 conversations cannot be learned from; none was taken. chats.jsonl:1 has a token "
        "that is half an answer and half what stands beside it: let the chat template put a token "
        "of its own between them, or learn from all turns (loss_on='all'): 'Hello there?'."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode([CHAT], new_tokenizer(template, "metaspace"), max_length=1000)


def test_control_tokens_are_refused(chatml) -> None:
    """A text that spells one would end the turn."""
    message = (
        "1 of 2 conversations cannot be learned from; none was taken. chats.jsonl:9 holds the "
        "control token '<|im_end|>' in message 2: 'Hello'."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode([CHAT, talk("Hello", f"a{END}", where="chats.jsonl:9")], chatml, max_length=99)


def test_model_without_a_template_is_refused(new_tokenizer) -> None:
    """In one sentence that says what to choose, for every kind of loss."""
    tokenizer = new_tokenizer(None)
    message = (
        "the tokenizer has no chat template, so it does not say how turns are written. Choose one: "
        "`--chat-template FILE`, or `--chat-template plain` for a model that knows no turns."
    )
    for loss_on in ("assistant", "all"):
        with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
            encode([CHAT], tokenizer, max_length=99, loss_on=loss_on)


def test_chosen_templates(tmp_path: Path) -> None:
    """The plain one by its name, others from a file."""
    path = tmp_path / "template.jinja"
    path.write_text(LLAMA_2, encoding="utf-8")
    assert (PLAIN_TEMPLATE, LLAMA_2) == (read_template("plain"), read_template(path))


def test_bad_template_files_are_refused(tmp_path: Path) -> None:
    """Missing, empty, or no text."""
    path = tmp_path / "template.jinja"
    head = f"a chat template must be `plain` or a file with one; `{path}` cannot be read: "
    with pytest.raises(DataError, match="^" + re.escape(f"{head}No such file or directory.") + "$"):
        read_template(path)
    path.write_bytes(b" \n")
    message = f"`{path}` must hold a chat template; it is empty."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_template(path)
    path.write_bytes(b"\xff")
    message = f"{head}'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_template(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 1}, "`max_length` must be at least 2; got 1."),
        (
            {"max_length": 9, "loss_on": "user"},
            "`loss_on` must be 'assistant' or 'all'; got 'user'.",
        ),
        (
            {"max_length": 9, "if_all_cut": "drop"},
            "`if_all_cut` must be 'refuse' or 'leave out'; got 'drop'.",
        ),
    ],
)
def test_bad_arguments_are_refused(chatml, arguments, message) -> None:
    """Before anything is read."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        encode([CHAT], chatml, **arguments)
