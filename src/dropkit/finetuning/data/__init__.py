"""Data in: conversations from a file, split without copies across, as tokens with their loss."""

from dropkit.finetuning.data._collate import collate
from dropkit.finetuning.data._conversation import Conversation, LabelledText, Message
from dropkit.finetuning.data._encode import NO_LOSS, Encoded, encode
from dropkit.finetuning.data._labelled import EncodedText, collate_labelled, encode_labelled
from dropkit.finetuning.data._read import read_conversations, read_labelled
from dropkit.finetuning.data._split import Split, SplitReport, split, split_report
from dropkit.finetuning.data._summary import DataSummary, PartSummary, summarize
from dropkit.finetuning.data._template import PLAIN_TEMPLATE, read_template
from dropkit.finetuning.data._tokenizer import check_tokenizer

__all__ = [
    "NO_LOSS",
    "PLAIN_TEMPLATE",
    "Conversation",
    "DataSummary",
    "Encoded",
    "EncodedText",
    "LabelledText",
    "Message",
    "PartSummary",
    "Split",
    "SplitReport",
    "check_tokenizer",
    "collate",
    "collate_labelled",
    "encode",
    "encode_labelled",
    "read_conversations",
    "read_labelled",
    "read_template",
    "split",
    "split_report",
    "summarize",
]
