"""From the answers of a service to the four complaints, each with its measured cause."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropkit.errors import DataError
from dropkit.serving._passes import Passes
from dropkit.serving._probed import Latency, Symptom
from dropkit.serving._reply import Reply
from dropkit.serving._shares import median_of, share_of
from dropkit.serving._training_report import Grounding
from dropkit.uncertainty import Handoff, reliability

#: A float32 that went through another order of summation is no other embedding.
_SAME = 1e-6
#: Simulated sets of labels for what a calibrated service would show, and the share of them below.
_SIMULATED, _QUANTILE = 1000, 0.99


def latency_of(seconds: Sequence[float]) -> Latency:
    """Percentiles; each is a time that was measured."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1]

    return Latency(at(0.5), at(0.9), at(0.99), ordered[-1])


def speed_of(seen: Passes, latency: Latency) -> Symptom:
    """Slower answers."""
    name = "slower answers"
    numbers: dict[str, float | None] = {
        "p50_s": latency.p50_s,
        "p90_s": latency.p90_s,
        "p99_s": latency.p99_s,
    }
    took = (
        f"Half the answers took at most {latency.p50_s * 1e3:.3g} ms, 99 of 100 at most "
        f"{latency.p99_s * 1e3:.3g} ms."
    )
    record = seen.guard
    if record is None or not record.forwards:
        return Symptom(
            name,
            None,
            took,
            "Not measured: the model behind the service was not given, or was not called.",
            numbers,
        )
    in_training = record.in_training_mode / record.forwards
    numbers |= {
        "training_mode_share": in_training,
        "draws_share": record.with_draws / record.forwards,
    }
    if not record.with_draws:
        cause = f"No dropout is at work: none of {record.forwards} forwards drew a mask."
        return Symptom(name, False, took, cause, numbers)
    work = median_of([as_is - silenced for as_is, silenced in seen.pairs])
    typical = median_of([silenced for _, silenced in seen.pairs]).value
    numbers |= {"dropout_s": work.value, "dropout_s_low": work.low, "dropout_s_high": work.high}
    numbers["dropout_share"] = work.value / (typical + work.value) if typical + work.value else None
    mode = f", {in_training:.0%} of them in training mode" if in_training else ""
    cause = (
        f"{record.with_draws} of {record.forwards} forwards drew masks{mode}: with dropout silenced "
        f"the same request took {work.value * 1e3:.3g} ms less (95% interval "
        f"{work.low * 1e3:.3g} to {work.high * 1e3:.3g}), beside {typical * 1e3:.3g} ms."
    )
    is_slower = True if work.low > 0.0 else False if work.high < math.inf else None
    return Symptom(name, is_slower, took, cause, numbers)


def grounding_of(found: Grounding | None) -> Symptom:
    """Weaker grounding."""
    name = "weaker grounding"
    if found is None:
        sentence = "Not measured: no report of the training was given."
        return Symptom(name, None, sentence, None)
    gap, auc = found.gap, found.auc
    numbers: dict[str, float | None] = {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
    sentence = (
        f"Held-out loss is {gap.value:.3g} above training loss (95% interval {gap.low:.3g} to "
        f"{gap.high:.3g})"
    )
    if auc is None:
        return Symptom(
            name,
            None if gap.low > 0.0 else False,
            f"{sentence}; memorization was not measured.",
            None,
            numbers,
        )
    numbers |= {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}
    is_known = auc.low > 0.5
    cause = "The model answers from what it memorized." if is_known and gap.low > 0.0 else None
    return Symptom(
        name,
        is_known and gap.low > 0.0,
        f"{sentence}; a training example can be told from another one with AUC {auc.value:.3g} "
        f"({auc.low:.3g} to {auc.high:.3g}; 0.5 is guessing).",
        cause,
        numbers,
    )


def retrieval_of(seen: Passes, neighbours: int) -> Symptom:
    """Noisy retrieval."""
    name = "noisy retrieval"
    pair = _embeddings(seen.as_is)
    if pair is None:
        return Symptom(name, None, "Not measured: no request got an embedding twice.", None)
    first, second = pair
    cosine = _cosine(first, second)
    overlap = _overlap(first, second, neighbours)
    numbers: dict[str, float | None] = {
        "cosine_mean": float(cosine.mean()),
        "cosine_least": float(cosine.min()),
        "neighbours_kept": overlap,
    }
    is_noisy = bool(cosine.min() < 1.0 - _SAME)
    if not is_noisy:
        sentence = f"All {len(first)} texts got the same embedding twice."
        return Symptom(name, False, sentence, None, numbers)
    kept = ""
    if overlap is not None:
        kept = f", and of its nearest texts {overlap:.0%} are the same"
    sentence = (
        f"The same text embedded twice has a cosine of {float(cosine.mean()):.4f} on average, "
        f"{float(cosine.min()):.4f} at the least{kept}."
    )
    quiet = _embeddings(seen.silenced)
    if quiet is None:
        cause = None
    else:
        least = float(_cosine(*quiet).min())
        numbers["cosine_least_silenced"] = least
        cause = _cause(seen, is_gone=least >= 1.0 - _SAME)
    return Symptom(name, True, sentence, cause, numbers)


def handover_of(seen: Passes, labels: Sequence[Any] | None, handoff: Handoff | None) -> Symptom:
    """Confusing hand-over."""
    name = "confusing hand-over"
    n, flips = _flips(seen.as_is, handoff)
    if not n:
        return Symptom(name, None, "Not measured: no request got a decision twice.", None)
    share = share_of(flips, n)
    numbers: dict[str, float | None] = {
        "flip_rate": share.value,
        "flip_rate_low": share.low,
        "flip_rate_high": share.high,
    }
    passes = len(seen.as_is)
    if flips:
        sentence = (
            f"{flips} of {n} requests got another decision in {passes} passes (95% interval "
            f"{share.low:.1%} to {share.high:.1%})."
        )
    else:
        sentence = f"All {n} requests got the same decision in {passes} passes."
    causes = []
    if flips and seen.silenced:
        n_quiet, quiet = _flips(seen.silenced, handoff)
        numbers["flip_rate_silenced"] = quiet / n_quiet if n_quiet else None
        causes.append(_cause(seen, is_gone=n_quiet > 0 and quiet == 0))
    is_off = False
    if labels is not None:
        found = _calibration(seen.as_is[0], labels)
        if found is not None:
            error, expected = found
            numbers |= {"calibration_error": error, "calibration_error_expected": expected}
            is_off = error > expected
            sentence += f" Its calibration error is {error:.3f}"
            sentence += (
                f"; a calibrated service would show at most {expected:.3f} in {_QUANTILE:.0%} of "
                "such tests."
            )
            if is_off:
                causes.append("Its probabilities are not the shares of right answers.")
    return Symptom(name, flips > 0 or is_off, sentence, " ".join(causes) or None, numbers)


def _cause(seen: Passes, *, is_gone: bool) -> str:
    if not is_gone:
        return "With dropout silenced it is still there: something else is random."
    record = seen.guard
    sites = "" if record is None else ", ".join(repr(one.site) for one in record.sites[:3])
    return f"Dropout: with the model's silenced it is gone. It draws at {sites or 'no known site'}."


def _embeddings(passes: Sequence[Sequence[Reply | None]]) -> tuple[Tensor, Tensor] | None:
    """Of the first two passes, ``(n, width)`` each, where both have one of the first one's width."""
    if not passes:
        return None
    pairs = [
        (one.embedding, two.embedding)
        for one, two in zip(passes[0], passes[1], strict=True)
        if one is not None
        and two is not None
        and one.embedding is not None
        and two.embedding is not None
    ]
    if not pairs:
        return None
    widths = {len(x) for pair in pairs for x in pair}
    if len(widths) > 1:
        raise DataError(f"the service must give embeddings of one width; got {sorted(widths)}.")
    return torch.stack([one for one, _ in pairs]), torch.stack([two for _, two in pairs])


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(first, second, dim=1)


def _overlap(first: Tensor, second: Tensor, neighbours: int) -> float | None:
    """Mean share of the nearest other texts that a text embedded anew finds again."""
    n = len(first)
    k = min(neighbours, n - 1)
    if k < 1:
        return None
    index = torch.nn.functional.normalize(first, dim=1)

    def nearest(queries: Tensor) -> Tensor:
        likeness = torch.nn.functional.normalize(queries, dim=1) @ index.T
        return likeness.fill_diagonal_(-math.inf).topk(k).indices

    same = nearest(first).unsqueeze(2) == nearest(second).unsqueeze(1)
    return float(same.any(2).double().mean())


def _flips(passes: Sequence[Sequence[Reply | None]], handoff: Handoff | None) -> tuple[int, int]:
    """How many requests got decisions in all passes, and how many of them not the same one."""
    n = flips = 0
    for replies in zip(*passes, strict=True):
        read = [_decision(reply, handoff) for reply in replies if reply is not None]
        known = [one for one in read if one != (None, None)]
        if len(known) == len(replies):
            n += 1
            flips += len(set(known)) > 1
    return n, flips


def _decision(reply: Reply, handoff: Handoff | None) -> tuple[Any, bool | None]:
    """What is decided, and whether a person is asked; of a request handed over only the latter."""
    handed_over = reply.handed_over
    if handed_over is None and handoff is not None and reply.probabilities is not None:
        handed_over = not bool(handoff.answers(reply.probabilities.max()[None]))
    return (None, True) if handed_over else (reply.decision, handed_over)


def _calibration(
    replies: Sequence[Reply | None], labels: Sequence[Any]
) -> tuple[float, float] | None:
    """The expected calibration error, and what it stays below by chance if there is none.

    Source:
        Consistency resampling: Broecker and Smith 2007, Weather and Forecasting 22.
    """
    rows, classes = [], []
    for reply, label in zip(replies, labels, strict=True):
        if reply is not None and reply.probabilities is not None:
            rows.append(reply.probabilities)
            classes.append(_class_of(label, reply))
    if not rows:
        return None
    if len({len(row) for row in rows}) > 1:
        raise DataError("the service must give probabilities of the same classes each time.")
    probabilities = torch.stack(rows)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    error = reliability(probabilities, torch.tensor(classes)).error
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(probabilities, _SIMULATED, replacement=True, generator=generator)
    by_chance = [reliability(probabilities, drawn[:, i]).error for i in range(_SIMULATED)]
    return error, float(torch.tensor(by_chance, dtype=torch.float64).quantile(_QUANTILE))


def _class_of(label: Any, reply: Reply) -> int:
    assert reply.probabilities is not None
    if reply.labels is not None and str(label) in reply.labels:
        return reply.labels.index(str(label))
    is_number = isinstance(label, int) and not isinstance(label, bool)
    if reply.labels is None and is_number and 0 <= label < len(reply.probabilities):
        return int(label)
    known = "numbers of classes" if reply.labels is None else ", ".join(map(repr, reply.labels[:5]))
    raise DataError(f"`labels` must be of the service's classes ({known}); got {label!r}.")
