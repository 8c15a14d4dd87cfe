"""What a trace has found, as plain data."""

from dataclasses import asdict, dataclass
from typing import Any

from dropkit.core.address import Address
from dropkit.core.estimate import Estimate
from dropkit.sites.find import Site
from dropkit.tracing._signals import Histogram


@dataclass(frozen=True)
class SiteTrace:
    """One place of dropout, as a forward and a backward pass it by. None: could not be seen.

    Attributes:
        site: Name, kind, rate, line of code, calls and elements.
        code: The line of the model's own code that calls it.
        address: Of the first call's mask in the sub-network that the signals were taken in; None
            where nothing was drawn by the core.
        measured_rate: Share of elements that were not 0 before and are after, in [0, 1]; for
            attention that of its mask.
        shape: Of what is dropped, in the first call; for attention of the query.
        mean_in: Of the elements before dropout; `mean_out` after it.
        variance_in: Likewise; `variance_out` after it.
        mean_out: See `mean_in`.
        variance_out: See `variance_in`.
        gradient_kept: Norm of the gradient at the kept elements over that at all that were not 0.
        first_order: Share of the loss' variance that this site's mask makes by itself.
        total: Share that would be left if all other masks were known.
        output_first_order: As `first_order`, of the output: over all its elements together.
        output_total: Likewise.
        penalty: How far the expected loss in training lies above that with this site off.
        flips: Share of predictions that change when only this site's mask is drawn anew.
        forward_share: Of the forward's wall time on dropkit's kernels, in [0, 1].
        backward_share: Likewise.
        forward_share_torch: On torch's.
        backward_share_torch: Likewise.
        bytes_kept: For backward, in a run on dropkit's kernels, the site's own input left out.
        bytes_kept_torch: On torch's.
        variance_ratio: Variance of what enters the next batch norm, with the site on over off.
        saturation: Share of elements before dropout on the flat part of the ReLU, tanh or
            sigmoid that made them.
        never_kept: Share of units that have a signal and that no sample of the batch kept.
        correlation: Mean absolute correlation between units before dropout.
        ablation: Rise of the loss in use when one unit behind the site is silent; a mean over
            drawn units.
        co_adaptation: How far the rise for two units lies above the sum of their single ones.
        histogram: Elements before and after, of the first call.
    """

    site: Site
    code: str | None = None
    address: Address | None = None
    measured_rate: float | None = None
    shape: tuple[int, ...] | None = None
    mean_in: float | None = None
    variance_in: float | None = None
    mean_out: float | None = None
    variance_out: float | None = None
    gradient_kept: float | None = None
    first_order: Estimate | None = None
    total: Estimate | None = None
    output_first_order: Estimate | None = None
    output_total: Estimate | None = None
    penalty: Estimate | None = None
    flips: float | None = None
    forward_share: float | None = None
    backward_share: float | None = None
    forward_share_torch: float | None = None
    backward_share_torch: float | None = None
    bytes_kept: int | None = None
    bytes_kept_torch: int | None = None
    variance_ratio: float | None = None
    saturation: float | None = None
    never_kept: float | None = None
    correlation: float | None = None
    ablation: float | None = None
    co_adaptation: float | None = None
    histogram: Histogram | None = None

    @property
    def rate(self) -> float | None:
        """Drop rate asked for, in [0, 1]."""
        return self.site.rate

    @property
    def leverage(self) -> Estimate | None:
        """`total`, or `output_total` where there is no loss."""
        return self.output_total if self.total is None else self.total

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, and what they hold likewise."""
        found = asdict(self)
        if self.histogram is not None:
            found["histogram"] = self.histogram._asdict()
        return found


@dataclass(frozen=True)
class Trace:
    """From input to output, where dropout adds leverage, cost and risk.

    Attributes:
        sites: That draw a mask in training, in the order the data meets them.
        target: What `first_order` and `total` speak of: ``"loss"``; ``"output"`` without one.
        loss: Mean over sub-networks; None without one.
        loss_deviation: Standard deviation of the loss over sub-networks.
        disagreement: Chance that two sub-networks predict different classes for a row of the
            output; None where the output is no scores.
        seed: Of the masks: those of block `b` are ``masks_at(seed, step=b, sample=0 or 1)``'s.
        samples: Asked for.
        blocks: Pairs of masks a site.
        runs: Of the model.
        forward_ms: A forward as in training, on torch's dropout and on dropkit's.
        backward_ms: Likewise; 0 where nothing can be differentiated.
        wall_s: Of the whole trace.
        confidence: Of the intervals.
        not_seen: What this trace cannot speak of, a sentence each.
        about: Machine and versions.
    """

    sites: tuple[SiteTrace, ...]
    target: str
    loss: float | None
    loss_deviation: float | None
    disagreement: float | None
    seed: int
    samples: int
    blocks: int
    runs: int
    forward_ms: dict[str, float]
    backward_ms: dict[str, float]
    wall_s: float
    confidence: float
    not_seen: tuple[str, ...]
    about: dict[str, str | int]

    def __getitem__(self, name: str) -> SiteTrace:
        """The site of this name."""
        return next(row for row in self.sites if row.site.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, and what they hold likewise."""
        found = asdict(self)
        found["sites"] = [row.to_dict() for row in self.sites]
        return found
