"""What is dropped is followed: which mask is applied where, and what its output reaches."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit.auditing.drops import SAMPLE, sample
from dropkit.auditing.flow import merged
from dropkit.auditing.observations import Observations
from dropkit.auditing.operations import DIRECT, KINDS, base_name, bits_of, kind_of, kinds_of
from support_models import MODELS


class Net(nn.Module):
    """Runs a function between modules that tests put in."""

    def __init__(self, function, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """What the function makes of it."""
        return self.function(self, x)


def observed(function, x: Tensor, **modules: nn.Module) -> Observations:
    """The runs of a net."""
    return Observations(Net(function, **modules), x)


X = torch.linspace(0.5, 2.0, 6 * 8).reshape(6, 8)


def direct(seen: Observations, kind: str) -> list[str]:
    """Names of the sites whose output feeds an operator of this kind directly."""
    return [site.name for site in seen.sites if seen.edges(site, kind, only=DIRECT)]


def test_batch_norm_is_reached() -> None:
    """Through a linear layer too, with the module that is reached; not what lies before."""
    seen = Observations(
        nn.Sequential(
            nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8)
        ),
        X,
    )
    [site] = seen.sites
    [edge] = seen.edges(site, "batch_norm")
    assert "4" == seen.name_of(edge.module)
    assert {"relu", "linear"} == edge.through
    assert [] == seen.edges(site, "batch_norm", only=DIRECT)
    assert [] == seen.edges(site, "batch_norm", without=frozenset({"linear"}))
    assert {"4", "0"} == {seen.name_of(module) for module in seen.training.moments}


def test_two_in_a_row() -> None:
    """A dropout behind a dropout is fed directly; one behind a residual sum or a layer is not."""
    names = {"a": nn.Dropout(0.1), "b": nn.Dropout(0.2), "c": nn.Dropout(0.3), "d": nn.Dropout(0.4)}

    def function(net: Net, x: Tensor) -> Tensor:
        x = net.b(net.a(x).relu().reshape(2, 3, 8).transpose(0, 1))
        return net.d(net.linear(net.c(x + net.linear(x))))

    seen = observed(function, X, linear=nn.Linear(8, 8), **names)
    assert ["a"] == direct(seen, "dropout")
    [edge] = seen.edges(seen.sites[0], "dropout", only=DIRECT)
    assert "b" == seen.site_of(edge.to).name
    [to_c] = [e for e in seen.edges(seen.sites[1], "dropout") if seen.site_of(e.to).name == "c"]
    assert {"add"} == to_c.through


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda net, x: net.drop(x).softmax(-1), "softmax"),
        (lambda net, x: F.log_softmax(net.drop(x) / 2.0, -1), "softmax"),
        (lambda net, x: net.drop(x).argmax(-1).float() * x[:, 0], "argmax"),
        (lambda net, x: net.drop(x).topk(2).values, "argmax"),
        (lambda net, x: F.max_pool1d(net.drop(x.relu())[None], 2), "max_pool"),
        (lambda net, x: F.layer_norm(net.drop(x), (8,)), "norm"),
        (lambda net, x: net.drop(x) @ torch.ones(8, 2), "linear"),
        (lambda net, x: F.batch_norm(net.drop(x), None, None, training=True), "batch_norm"),
        (lambda net, x: net.drop(x), "output"),
        (lambda net, x: torch.cat([net.drop(x).mul_(2).t(), x.t()]), "reduce"),
    ],
)
def test_what_is_fed_directly(function, kind) -> None:
    """Each kind of operator is met by name; a concatenation is none of them."""
    seen = observed(function, X.clone().requires_grad_(), drop=nn.Dropout(0.5))
    assert direct(seen, kind) == ([] if kind == "reduce" else ["drop"])


def test_writes_in_place_are_followed() -> None:
    """What is written into a view is in the tensor that is viewed."""

    def function(net: Net, x: Tensor) -> Tensor:
        y = torch.zeros(6, 10)
        y[:, 1:9] = net.drop(x)
        return F.softmax(y, -1)

    assert ["drop"] == direct(observed(function, X, drop=nn.Dropout(0.5)), "softmax")


@pytest.mark.parametrize(
    ("function", "made_by", "scale", "before", "after"),
    [
        (lambda net, x: F.dropout(x.relu(), 0.2, net.training), "relu", 1.25, 1.0, 1.0),
        (lambda net, x: dropkit.functional.dropout(x, 0.5, net.training), "other", 2.0, 1.0, 1.0),
        (lambda _, x: x.softmax(-1) * _mask(x, 0.5), "softmax", 1.0, 1.0, 1.0),
        (lambda _, x: x * _mask(x, 0.5) / 0.5, "other", 1.0, 1.0, 2.0),
        (lambda _, x: x * (_mask(x, 0.5) / 0.5), "other", 2.0, 1.0, 1.0),
        (lambda _, x: x * 4.0 * _mask(x, 0.5), "scale", 1.0, 4.0, 1.0),
        (lambda _, x: x.masked_fill(torch.rand_like(x) < 0.5, 0.0), "other", 1.0, 1.0, 1.0),
        (lambda _, x: torch.where(torch.rand_like(x) < 0.5, 2 * x, 0.0), "scale", 1.0, 2.0, 1.0),
        (lambda net, x: nn.functional.alpha_dropout(x, 0.5, net.training), "other", None, 1.0, 1.0),
        (lambda _, x: F.dropout2d(x.reshape(1, 6, 2, 4), 0.5), "other", 2.0, 1.0, 1.0),
    ],
)
def test_masks_are_measured(function, made_by, scale, before, after) -> None:
    """What came in, by how much the mask scales, and what the model multiplies beside it."""
    seen = observed(function, X)
    [site] = seen.sites
    [drop] = site.drops
    assert (made_by, before, after) == (drop.made_by, drop.scale_before, drop.scale_after)
    if scale is not None:
        assert drop.scale == pytest.approx(scale, rel=1e-4)
    assert drop.x.shape == drop.y.shape == drop.kept.shape == torch.Size(drop.shape)


def _mask(x: Tensor, keep: float) -> Tensor:
    return torch.bernoulli(torch.full_like(x, keep))


def test_gradients_are_told() -> None:
    """Whether a gradient flows in, and whether gradients are off."""

    def function(net: Net, x: Tensor) -> Tensor:
        with torch.no_grad():
            a = net.a(net.linear(x))
        return net.b(x) + net.c(net.linear(a))

    drops = {name: nn.Dropout(0.5) for name in "abc"}
    seen = observed(function, X, linear=nn.Linear(8, 8), **drops)
    told = {s.name: (s.drops[0].has_grad, s.drops[0].in_no_grad) for s in seen.sites}
    assert {"a": (False, True), "b": (False, False), "c": (True, False)} == told


def test_moments_of_silent_run() -> None:
    """Without dropout a batch norm is given another variance than with it, at the same mean."""
    seen = Observations(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(8)), torch.randn(4096, 8) + 3)
    (with_it,), (without,) = ([*run.moments.values()][0] for run in (seen.training, seen.silent))  # noqa: RUF015
    closed_form = (1 + 0.5 * without.mean**2 / without.variance) / 0.5
    ratio = with_it.variance / without.variance
    assert torch.allclose(closed_form, ratio, rtol=0.1)
    assert torch.allclose(without.mean, with_it.mean, rtol=0.1)


def test_recomputation_is_told_from_the_forward() -> None:
    """What checkpointing computes again is seen as such."""

    def function(net: Net, x: Tensor) -> Tensor:
        run = torch.utils.checkpoint.checkpoint
        return run(lambda y: net.drop(net.linear(y)), x, use_reentrant=False)

    seen = observed(function, X, linear=nn.Linear(8, 8), drop=nn.Dropout(0.5))
    [site] = seen.sites
    draws = [site.in_training, site.in_backward, site.in_eval]
    assert [1, 1, 0] == [sum(event.n_draws for event in events) for events in draws]


def test_again_is_another_run() -> None:
    """Another seed gives other masks and gradients, the same seed the same."""
    seen = observed(lambda net, x: net.linear(F.dropout(x)), X, linear=nn.Linear(8, 2))
    runs = [seen.again(seed=seed, backward=True) for seed in (1, 2, 1)]
    outputs, gradients = ([run.outputs[""] for run in runs], [run.gradients for run in runs])
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(gradients[0]["linear.weight"], gradients[2]["linear.weight"])
    assert {"dropout"} == seen.drawn_in(runs[0])


@pytest.mark.parametrize("name", MODELS)
def test_every_place_applies_a_mask(name) -> None:
    """On the zoo each site that draws has its masks applied, save those that skip layers."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    seen = Observations(entry.build(), entry.batch, entry.loss)
    drawing = [site for site in seen.sites if site.draws_in_training]
    assert entry.places == len(drawing)
    assert all(
        site.drops for site in drawing if site.kind != "LayerDrop" and entry.name != "layer drop"
    )
    assert not any(site.draws_in_eval for site in seen.sites)


def test_paths_keep_the_shortest() -> None:
    """Of two paths to a place one that is within the other is kept."""
    short, long, other = (bits_of(k.split()) for k in ("relu", "relu linear", "pool"))
    assert {1: (short,)} == merged([{1: (short, long)}], 0)
    assert {1: (short, other)} == merged([{1: (short,)}, {1: (other,)}], 0)
    assert {"relu", "linear", "add"} == kinds_of(long | bits_of(["add"]))


def test_operators_have_one_kind() -> None:
    """Names lose namespace, overload and underscore, and unknown ones are other."""
    assert "relu" == base_name("aten::relu_.default")
    assert ("relu", "other") == (kind_of("relu"), kind_of("unheard_of"))
    assert len(set(KINDS)) == len(KINDS) == len({bits_of([kind]) for kind in KINDS})


@pytest.mark.parametrize("shape", [(), (3,), (2**20,), (2, 2**20), (300, 7, 1000), (4, 0, 3)])
def test_samples_are_small(shape) -> None:
    """A sample has the first elements, about as many as it may, and two rows if there are."""
    x = torch.arange(torch.Size(shape).numel()).reshape(shape)
    part = sample(x)
    assert part.numel() <= min(x.numel(), 2 * SAMPLE)
    assert part.dim() == x.dim()
    assert part.dim() == 0 or part.shape[0] >= min(2, x.shape[0])
    assert part.numel() == x.numel() or part.numel() > SAMPLE // 4
