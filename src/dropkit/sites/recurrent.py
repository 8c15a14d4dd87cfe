"""Recurrent layers of torch with dropkit's dropout between them.

torch drops in the middle of one long operation. Here each layer is an operation of its own, with
dropout between two: the same numbers where nothing is dropped, and the same gradients.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dropkit.functional import dropout


def layer_by_layer(theirs: Callable[..., Any], *args: Any) -> Any:
    """``torch.lstm``, ``torch.gru``, ``torch.rnn_tanh`` or ``torch.rnn_relu`` with our dropout.

    Args:
        theirs: One of these, as torch has it.
        args: As ``nn.RNNBase`` passes them, for padded ``(input, hx, weights, has_biases,
            num_layers, dropout, train, bidirectional, batch_first)`` or for packed sequences
            ``(data, batch_sizes, hx, weights, has_biases, num_layers, dropout, train,
            bidirectional)``.

    Returns:
        What `theirs` returns: the output, and the last hidden (and cell) states.
    """
    at = int(isinstance(args[3], (list, tuple)))  # packed sequences have one more in front
    x, sizes, hx, weights = args[0], args[1 : 1 + at], args[1 + at], args[2 + at]
    has_biases, n_layers, p, is_training, is_bidirectional = args[3 + at : 8 + at]
    layout = args[8 + at :]
    is_lstm = isinstance(hx, (list, tuple))
    states = list(hx) if is_lstm else [hx]
    n_directions = 1 + bool(is_bidirectional)
    n_weights = len(weights) // n_layers
    lasts: list[Sequence[Tensor]] = []
    for layer in range(n_layers):
        own = [state[layer * n_directions : (layer + 1) * n_directions] for state in states]
        of_layer = list(weights[layer * n_weights : (layer + 1) * n_weights])
        numbers = (has_biases, 1, 0.0, is_training, is_bidirectional, *layout)
        x, *last = theirs(x, *sizes, own if is_lstm else own[0], of_layer, *numbers)
        lasts.append(last)
        if layer < n_layers - 1:
            x = dropout(x, p, is_training)
    return (x, *(torch.cat(parts) for parts in zip(*lasts, strict=True)))
