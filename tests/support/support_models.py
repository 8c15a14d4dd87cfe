"""The zoo: small models of many architectures, for tests and for scripts in ``bench/``.

>>> from support_models import MODELS
>>> entry = MODELS["nn.Transformer"]
>>> model = entry.build()
>>> loss = entry.loss(entry.run(model))

Each entry states how many places of dropout its model has, found by reading the architecture,
not by running a finder; ``tests/test_zoo.py`` measures them. What counts as one place:

- a module of torch's that drops: ``nn.Dropout`` and its kin, ``nn.MultiheadAttention(dropout=)``
  and ``nn.LSTM(num_layers=2, dropout=)``, however often it is called in a forward;
- else one call expression in one instance of a module: ``F.dropout``,
  ``F.scaled_dot_product_attention`` with a rate above 0, or a draw by ``torch.rand`` and the
  like. So two calls in one module are two places, and one call in two layers is two places too.
- LayerDrop is one place a stack: one expression in one loop of the module that owns the layers.
  What the layers themselves draw counts although a forward may skip them.

Module in the sense of the place is the innermost one whose forward runs: for Hugging Face's
attention, eager or sdpa, the attention module, though the function that draws stands elsewhere.
A dropout module of which only the rate is read, such as BERT's in attention, is no place.
"""

from support_entry import Entry, first_output
from support_models_torch import TORCH
from support_models_transformers import TRANSFORMERS

__all__ = ["MODELS", "Entry", "first_output"]

MODELS = {entry.name: entry for entry in (*TORCH, *TRANSFORMERS)}
