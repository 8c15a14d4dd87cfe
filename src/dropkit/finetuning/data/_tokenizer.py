"""Does the tokenizer belong to the model?"""

from typing import Any

from dropkit.errors import DataError


def name_of(tokenizer: Any) -> str:
    """The tokenizer, as an error calls it."""
    name = getattr(tokenizer, "name_or_path", "")
    return f"the tokenizer of `{name}`" if name else "the tokenizer"


def check_tokenizer(tokenizer: Any, vocabulary_size: int, *, must_end: bool = True) -> int:
    """The token to pad with, of a tokenizer that the model can read.

    Padding is never attended to and never learned, so the token that ends a text serves where there
    is none for it.

    Args:
        tokenizer: Of transformers.
        vocabulary_size: Rows of the model's embedding of tokens; more than the tokenizer has tokens
            is usual.
        must_end: Whether the model writes, and so needs a token that ends a text; a classifier
            does not.

    Returns:
        Its index, for `collate`.

    Raises:
        DataError: A token has no row, or there is no token that ends a text or none to pad with.
    """
    token, highest = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if highest >= vocabulary_size:
        raise DataError(
            f"{name_of(tokenizer)} does not belong to the model: its token {token!r} has the "
            f"number {highest}, and the model's embedding has {vocabulary_size} rows. Take the "
            "tokenizer of the model's own folder."
        )
    if must_end and tokenizer.eos_token_id is None:
        raise DataError(
            f"{name_of(tokenizer)} has no eos token, so no answer would ever end. Name the token "
            "that ends a text in its tokenizer_config.json."
        )
    for index in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if index is not None:
            return int(index)
    raise DataError(
        f"{name_of(tokenizer)} has neither a pad nor an eos token, so texts of different length "
        "make no batch. Name one in its tokenizer_config.json."
    )
