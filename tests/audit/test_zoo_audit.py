"""On healthy models the audit is silent, and it is soon done."""

import pytest

import dropkit
from support_models import MODELS

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")

#: What may rightly be said of a model of the zoo.
PLANTED = {"dropout2d before batch norm": {"DRP301"}}


@pytest.mark.parametrize("name", MODELS)
def test_healthy_models(name) -> None:
    """No warning and no error, in training mode and in eval."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    for handed in (model, model.eval()):
        audit = dropkit.audit(handed, entry.batch, loss=entry.loss)
        grave = {one.code for one in audit.findings if one.severity != "info"}
        assert grave <= PLANTED.get(name, set()), audit.findings


def test_few_forwards() -> None:
    """An audit of BERT takes less than ten forwards and backwards, whatever the machine."""
    entry = MODELS["bert, sdpa"]
    for package in entry.needs:
        pytest.importorskip(package)
    model, calls = entry.build(), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    audit = dropkit.audit(model, entry.batch, loss=entry.loss)
    assert audit.rules
    assert len(calls) <= 10
