"""On healthy models the audit is silent; on those of the zoo that were planted it is not."""

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
