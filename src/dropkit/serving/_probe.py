"""Ask a service, and say which of four complaints of its users has a cause that can be measured."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from dropkit.errors import OptionError, ProbeError
from dropkit.serving._passes import Asking, run_passes
from dropkit.serving._probed import Probe
from dropkit.serving._service import service_of
from dropkit.serving._symptoms import (
    grounding_of,
    handover_of,
    latency_of,
    retrieval_of,
    speed_of,
)
from dropkit.serving._training_report import read_grounding
from dropkit.uncertainty import Handoff

_MOST_SENTENCES = 5


def probe(  # noqa: PLR0913 - one call, of which all but two may be left out
    service: Callable[[Any], Any] | str,
    requests: Sequence[Any],
    *,
    labels: Sequence[Any] | None = None,
    model: nn.Module | None = None,
    handoff: Handoff | None = None,
    report: str | Path | None = None,
    arm: str | None = None,
    read: Callable[[Any], Any] | None = None,
    repeats: int = 2,
    neighbours: int = 10,
    timeout_s: float = 10.0,
    most_calls: int = 2000,
) -> Probe:
    """Ask each request several times, and look for four complaints and their causes.

    *Slower answers*: with and without dropout at work, in turns, where `model` is given.
    *Weaker grounding*: memorization and train-held-out gap, read from `report`. *Noisy retrieval*:
    the same text embedded twice. *Confusing hand-over*: decisions that change from one pass to the
    next, and probabilities that are not shares of right answers.

    Args:
        service: What answers: a callable that takes one request, or the URL of an endpoint, which
            gets the request as JSON by POST. An answer is read by its keys (``"decision"``,
            ``"probabilities"``, ``"embedding"``, ``"handed_over"``), or is a text, or a list of
            numbers: a distribution, or else an embedding.
        requests: At least one.
        labels: The right decision of each, for calibration.
        model: The module behind a callable. Its dropout is silenced for every second answer, so
            that a difference between the two has dropout as its cause; nobody else should be using
            it meanwhile. It is left as it was.
        handoff: Decides from the greatest probability whether a person is asked, where the
            service does not say.
        report: The ``report.json`` of a fine-tuning or a study.
        arm: Whose numbers in it; None for the one that its verdict names, or the only one.
        read: From what the service gives to what is described above.
        repeats: Passes over the requests, at least 2.
        neighbours: How many nearest texts are compared.
        timeout_s: For one answer of an endpoint.
        most_calls: A bound on how often the service is asked in all.

    Returns:
        The four, with numbers.

    Raises:
        ProbeError: Not one answer came, or none could be read.
        OptionError: There are no requests, not one label for each, or more than `most_calls` calls
            would be needed.
        DataError: `report` cannot be read.

    >>> found = probe(lambda text: {"decision": len(text) % 2}, ["a", "bc", "d"])
    >>> found.present, found.symptoms[3].sentence
    ((), 'All 3 requests got the same decision in 2 passes.')
    """
    begin = time.perf_counter()
    requests = list(requests)
    _check(requests, labels, repeats, neighbours, timeout_s)
    n_calls = len(requests) * repeats * (1 if model is None else 2)
    if n_calls > most_calls:
        raise OptionError(
            f"`most_calls` allows {most_calls} calls; {len(requests)} requests would need {n_calls}."
            " Take fewer requests, or raise it."
        )
    grounding = None if report is None else read_grounding(Path(report), arm)
    asking = Asking(service_of(service, timeout_s), read or (lambda answer: answer))
    asking.warm_up(requests[0])
    seen = run_passes(asking, requests, repeats, model)
    if not asking.seconds:
        raise ProbeError(asking.sentences[0])
    latency = latency_of(asking.seconds)
    return Probe(
        symptoms=(
            speed_of(seen, latency),
            grounding_of(grounding),
            retrieval_of(seen, neighbours),
            handover_of(seen, labels, handoff),
        ),
        latency=latency,
        requests=len(requests),
        calls=len(asking.seconds),
        failed=asking.failed,
        failures=tuple(asking.sentences[:_MOST_SENTENCES]),
        guard=seen.guard,
        seconds=time.perf_counter() - begin,
    )


def _check(
    requests: Sequence[Any],
    labels: Sequence[Any] | None,
    repeats: int,
    neighbours: int,
    timeout_s: float,
) -> None:
    if not requests:
        raise OptionError("`requests` must hold at least one request; got none.")
    if labels is not None and len(labels) != len(requests):
        raise OptionError(
            f"`labels` must be one for each request; got {len(labels)} for {len(requests)}."
        )
    for name, value, least in (("repeats", repeats, 2), ("neighbours", neighbours, 1)):
        if value < least:
            raise OptionError(f"`{name}` must be at least {least}; got {value!r}.")
    if not timeout_s > 0.0:  # nan fails this too
        raise OptionError(f"`timeout_s` must be above 0; got {timeout_s!r}.")
