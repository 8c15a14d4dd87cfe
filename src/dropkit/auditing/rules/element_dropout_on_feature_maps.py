"""DRP304."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from dropkit.auditing.correlation import neighbour_correlation
from dropkit.auditing.finding import Finding
from dropkit.auditing.flow import Edge
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.operations import DIRECT
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import drops_by_element

#: Neighbours say the same from this correlation on: each tells half of the other's variance.
_SAME = 0.7
_OF_MAPS = (_ConvNd, _BatchNorm, _MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)


class ElementDropoutOnFeatureMaps(Rule):
    """Single elements of feature maps are dropped whose neighbours say the same.

    ## Why it matters
    In feature maps of images, neighbours are alike. What one dropped element says the next one
    still says, so that little is lost, and dropout mainly makes the steps smaller.

    ## Instead
    Drop whole channels with ``nn.Dropout2d`` or ``nn.Dropout3d``, or blocks with
    ``dropkit.nn.DropBlock2d``.

    ## When it is fine
    The maps are small or their neighbours differ, as behind the last layers of a network; or a study
    has shown that it helps, as between the convolutions of wide residual networks.
    """

    code, name, severity, since = "DRP304", "element-dropout-on-feature-maps", "warning", "0.1"
    source = "Tompson et al. 2015, CVPR, arXiv:1411.4280; Ghiasi et al. 2018, arXiv:1810.12890"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites in front of what takes feature maps, that drop by the element."""
        for site in seen.acting:
            drop = next((one for one in site.drops if one.x is not None), None)
            if drop is None or drop.x is None or drop.x.dim() not in (4, 5):
                continue
            reached = _map_taker(seen, site)
            if reached is None or not drops_by_element(drop):
                continue
            correlation = neighbour_correlation(drop.x)
            if correlation is None or correlation < _SAME:
                continue
            yield self.finding(
                site,
                f"Drops single elements of feature maps of shape {drop.shape}, whose neighbours "
                f"correlate at {correlation:.2f}, in front of `{seen.name_of(reached)}`.",
                evidence={"correlation": correlation, "shape": list(drop.shape)},
            )


def _map_taker(seen: Observations, site: SeenSite) -> nn.Module | None:
    """The first module behind that takes feature maps, and shows that these are some."""
    edges: list[Edge] = seen.edges(site, only=DIRECT)
    return next((edge.module for edge in edges if isinstance(edge.module, _OF_MAPS)), None)
