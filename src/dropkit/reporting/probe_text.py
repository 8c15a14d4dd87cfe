"""A probe in the terminal."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from dropkit.serving import Probe, Symptom

_MARKS = {True: ("yes", "bold red"), False: ("no", "green"), None: ("not known", "dim")}


def probe_text(probe: Probe) -> RenderableType:
    """The four complaints, each with what was measured and its cause; then what failed."""
    latency = probe.latency
    parts: list[RenderableType] = [
        Text(
            f"{probe.requests} requests, {probe.calls} answers, {probe.failed} failed. "
            f"p50 {latency.p50_s * 1e3:.3g} ms, p90 {latency.p90_s * 1e3:.3g} ms, "
            f"p99 {latency.p99_s * 1e3:.3g} ms.",
            style="dim",
        ),
        "",
    ]
    for one in probe.symptoms:
        parts += _of(one)
    parts += [Text(f"Failed: {sentence}", style="yellow") for sentence in probe.failures]
    return Group(*parts)


def _of(symptom: Symptom) -> list[RenderableType]:
    word, style = _MARKS[symptom.is_present]
    parts: list[RenderableType] = [
        Text.assemble((symptom.name.capitalize(), "bold"), ": ", (word, style)),
        Padding(Text(symptom.sentence), (0, 0, 0, 2), expand=False),
    ]
    if symptom.cause is not None:
        cause = Text.assemble(("Cause: ", "italic"), symptom.cause)
        parts.append(Padding(cause, (0, 0, 0, 2), expand=False))
    return parts
