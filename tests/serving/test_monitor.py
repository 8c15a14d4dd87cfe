"""A monitor counts, alarms when it has to, and keeps no text."""

import concurrent.futures
import json
import logging
import math
import re
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy import stats

from dropkit.errors import DataError, MissingExtraError, OptionError
from dropkit.serving import Alarm, Baseline, Monitor
from dropkit.serving.monitoring._counts import EDGES, Counts, drift, quantile
from dropkit.serving.monitoring._repeats import differ


def _value(monitor: Monitor, line: str) -> float:
    found = re.search(f"^{re.escape(line)} (.+)$", monitor.metrics().decode(), re.MULTILINE)
    assert found is not None, monitor.metrics().decode()
    return float(found[1])


def test_counts_go_to_prometheus() -> None:
    """Each quantity has its histogram, each response its counter."""
    monitor = Monitor()
    monitor.observe(latency_s=0.02, disagreement=0.3, handed_over=True)
    monitor.observe(latency_s=0.04, handed_over=False)
    monitor.answered(200)
    monitor.answered(404)
    assert 2 == _value(monitor, "dropkit_request_seconds_count")
    assert 0.06 == _value(monitor, "dropkit_request_seconds_sum")
    assert 1 == _value(monitor, "dropkit_disagreement_count")
    assert 1 == _value(monitor, "dropkit_handed_over_sum")
    assert 1 == _value(monitor, 'dropkit_requests_total{status="2xx"}')
    assert 1 == _value(monitor, 'dropkit_requests_total{status="4xx"}')


def test_bins_are_those_of_prometheus() -> None:
    """A value on an edge belongs to the bin that the edge ends, as in a Prometheus histogram."""
    counts = Counts("disagreement", 3)
    for value in (0.0, 0.05, 0.051, float("nan")):
        counts.add(value)
    assert [2, 1] == counts.total[:2]
    assert 1 == counts.total[-1]
    assert 3 == sum(counts.recent())  # the window


def test_repeat_is_nobodys() -> None:
    """What the application observes while a request is repeated is not counted."""
    monitor = Monitor()
    with monitor.repeating():
        monitor.observe(disagreement=0.5)
        assert not Monitor(share=1.0).is_chosen()
    assert 0 == _value(monitor, "dropkit_disagreement_count")


def test_share_is_kept(false_alarm: float) -> None:
    """Requests are chosen by chance at the share asked for."""
    monitor = Monitor(share=0.2, seed=1)
    chosen = sum(monitor.is_chosen() for _ in range(5000))
    assert stats.binomtest(chosen, 5000, 0.2).pvalue > false_alarm
    assert stats.binomtest(chosen, 5000, 0.3).pvalue < false_alarm
    assert not any(Monitor(share=0.0).is_chosen() for _ in range(100))


def test_first_differing_repeat_rings(caplog: pytest.LogCaptureFixture) -> None:
    """The alarm is handed over once, logged, and stands in the metrics."""
    heard: list[Alarm] = []
    monitor = Monitor(on_alarm=heard.append)
    monitor.repeated(is_same=True)
    assert () == monitor.check()
    with caplog.at_level(logging.WARNING):
        monitor.repeated(is_same=False)
        monitor.repeated(is_same=False)
    assert 1 == len(heard)
    assert heard[0].message == (
        "1 of the last 2 repeated requests were answered otherwise than before."
    )
    assert 1 == len(caplog.records)
    assert 1 == _value(monitor, 'dropkit_alarm{of="repeats"}')
    assert 0 == _value(monitor, 'dropkit_alarm{of="latency_s"}')
    assert 2 == _value(monitor, 'dropkit_repeats_total{answers="differs"}')


def test_alarm_ends_with_the_window() -> None:
    """When the last `window` repeats agree, it rings no more."""
    monitor = Monitor(window=3)
    monitor.repeated(is_same=False)
    assert ["repeats"] == [alarm.of for alarm in monitor.check()]
    for _ in range(3):
        monitor.repeated(is_same=True)
    assert () == monitor.check()


def test_drift_is_an_alarm_and_its_absence_is_none() -> None:
    """Answers like those at the release do not ring; slower ones do."""
    release = Monitor()
    for k in range(500):
        release.observe(latency_s=0.01 + 0.0001 * (k % 100))
    baseline = release.record_baseline()
    monitor = Monitor(baseline=baseline)
    for k in range(300):
        monitor.observe(latency_s=0.01 + 0.0001 * (k % 100))
    assert () == monitor.check()
    for _ in range(300):
        monitor.observe(latency_s=0.08)
    assert ["latency_s"] == [alarm.of for alarm in monitor.check()]
    assert _value(monitor, 'dropkit_drift{of="latency_s"}') > 0.25


def test_few_answers_do_not_ring() -> None:
    """An index above the threshold that chance explains is no alarm."""
    baseline = Baseline({"handed_over": (50, 50)})
    monitor = Monitor(baseline=baseline)
    for _ in range(3):
        monitor.observe(handed_over=True)
    assert monitor.drifts()[0].index > 0.25
    assert () == monitor.check()


def test_drift_is_calibrated(seed: int, false_alarm: float) -> None:
    """Without a drift, p-values at or below 0.05 come in about 5 of 100 cases; with one, always."""
    generator = np.random.default_rng(seed)
    shares = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    n_low = 0
    for _ in range(2000):
        before, now = generator.multinomial(2000, shares), generator.multinomial(800, shares)
        found = drift("latency_s", before.tolist(), now.tolist())
        assert found is not None
        n_low += found.p_value <= 0.05
    # The law is asymptotic: somewhere between 0.03 and 0.07 for certain.
    assert stats.binomtest(n_low, 2000, 0.03, alternative="less").pvalue > false_alarm
    assert stats.binomtest(n_low, 2000, 0.07, alternative="greater").pvalue > false_alarm
    moved = drift(
        "latency_s",
        generator.multinomial(2000, shares).tolist(),
        generator.multinomial(2000, shares[::-1]).tolist(),
    )
    assert moved is not None
    assert moved.p_value < false_alarm


def test_baseline_comes_back(tmp_path: Path) -> None:
    """Saved and loaded it is the same, and a monitor takes its path."""
    monitor = Monitor()
    monitor.observe(latency_s=0.5, handed_over=False)
    baseline = monitor.record_baseline()
    baseline.save(tmp_path / "baseline.json")
    assert baseline == Baseline.load(tmp_path / "baseline.json")
    assert {"latency_s", "handed_over"} == set(baseline.counts)
    assert 1 == sum(baseline.counts["latency_s"])
    assert Monitor(baseline=str(tmp_path / "baseline.json")).baseline == baseline


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "it must have the format 'dropkit service baseline'."),
        ({"version": 2}, "it must be of version 1; got 2."),
        ({"counts": []}, "`counts` must be a table of counts by quantity; got []."),
        (
            {"edges": {"handed_over": [0.4]}},
            "the bins of 'handed_over' are others than this version's: record it again.",
        ),
        ({"counts": {"handed_over": [1]}}, "`counts` of 'handed_over' must be 2 whole numbers."),
        (
            {"counts": {"handed_over": [1, -1]}},
            "`counts` of 'handed_over' must be 2 whole numbers.",
        ),
    ],
)
def test_file_that_is_no_baseline(change: dict[str, object], message: str) -> None:
    """Each says what is wrong with it."""
    data = {**Baseline({"handed_over": (3, 1)}).to_dict(), **change}
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        Baseline.from_dict(json.loads(json.dumps(data)))


def test_unreadable_baseline(tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "b.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match=r"^the baseline '.*b\.json' cannot be read: "):
        Monitor(baseline=str(tmp_path / "b.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, "`share` must be in [0, 1]; got 1.5."),
        ({"share": float("nan")}, "`share` must be in [0, 1]; got nan."),
        ({"tolerance": -1.0}, "`tolerance` must be in [0, inf]; got -1.0."),
        ({"window": 0}, "`window` must be a whole number of at least 1; got 0."),
        ({"window": 1.5}, "`window` must be a whole number of at least 1; got 1.5."),
        ({"threshold": float("nan")}, "`threshold` must be in [0, inf]; got nan."),
        ({"alpha": 2.0}, "`alpha` must be in [0, 1]; got 2.0."),
    ],
)
def test_options_outside_their_range(options: dict[str, float], message: str) -> None:
    """One sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        Monitor(**options)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    message = "a monitor needs prometheus-client: pip install 'dropkit[serving]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        Monitor()


@pytest.mark.parametrize(
    ("first", "second", "is_other"),
    [
        (b'{"a": [1.0, "x"]}', b'{"a": [1.0, "x"]}', False),
        (b'{"a": [1.0]}', b'{"a": [1.05]}', False),  # within the tolerance
        (b'{"a": [1.0]}', b'{"a": [1.2]}', True),
        (b'{"a": [1.0]}', b'{"a": [1.0, 2.0]}', True),
        (b'{"a": 1}', b'{"a": true}', False),  # Python's own equality, and harmless
        (b'{"a": 1, "id": 5}', b'{"a": 1, "id": 6}', False),  # ignored
        (b'{"a": 1}', b'{"b": 1}', True),
        (b'{"a": NaN}', b'{"a": NaN}', False),
        (b'{"a": NaN}', b'{"a": 1}', True),
        (b'{"a": Infinity}', b'{"a": Infinity}', False),
        (b"text", b"text", False),
        (b"text", b"other", True),
    ],
)
def test_answers_differ(first: bytes, second: bytes, is_other: bool) -> None:
    """Numbers by tolerance, keys by name, all else by equality."""
    assert is_other == differ(first, second, tolerance=0.1, ignore=["id"])


def test_edges_ascend() -> None:
    """As both bisection and Prometheus need."""
    for edges in EDGES.values():
        assert list(edges) == sorted(set(edges))


def test_value_that_is_no_number_spoils_no_sum() -> None:
    """It has a counter of its own, for a histogram's sum would be nan for good."""
    monitor = Monitor()
    monitor.observe(disagreement=float("nan"))
    monitor.observe(disagreement=0.5)
    assert 0.5 == _value(monitor, "dropkit_disagreement_sum")
    assert 1 == _value(monitor, 'dropkit_not_finite_total{of="disagreement"}')


def test_handler_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Its failure is logged; the request goes on, and the metrics say that it rings."""

    def broken(_: Alarm) -> None:
        raise RuntimeError("no pager")

    monitor = Monitor(on_alarm=broken)
    with caplog.at_level(logging.WARNING):
        monitor.repeated(is_same=False)
    assert "`on_alarm` has raised" == caplog.records[-1].getMessage()
    assert 1 == _value(monitor, 'dropkit_alarm{of="repeats"}')


def test_counts_from_several_threads() -> None:
    """None is lost, and an alarm that begins is handed over once."""
    heard: list[Alarm] = []
    monitor = Monitor(on_alarm=heard.append)

    def work() -> None:
        for _ in range(200):
            monitor.observe(latency_s=0.01)
            monitor.repeated(is_same=False)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert 800 == sum(monitor.record_baseline().counts["latency_s"])
    assert 800 == monitor.record_baseline().differing
    assert 1 == len(heard)


def test_metrics_without_asgi() -> None:
    """On a port of its own, as of each reading; closed, the port is free again."""
    monitor = Monitor()
    with monitor.serve(0) as endpoint:
        monitor.repeated(is_same=False)
        said = httpx.get(f"http://{endpoint.address}:{endpoint.port}/metrics").text
        assert 'dropkit_alarm{of="repeats"} 1.0' in said
        assert "127.0.0.1" == endpoint.address
    endpoint.close()
    with monitor.serve(endpoint.port) as again:
        assert endpoint.port == again.port


def test_port_that_is_none() -> None:
    """One sentence."""
    message = "`port` must be a whole number in [0, 65535]; got 65536."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        Monitor().serve(65536)


def test_baseline_from_a_path(tmp_path: Path) -> None:
    """Of a `Path` as of a text; repeats come back too."""
    monitor = Monitor()
    monitor.observe(latency_s=0.01)
    monitor.repeated(is_same=True)
    monitor.record_baseline().save(tmp_path / "baseline.json")
    again = Monitor(baseline=tmp_path / "baseline.json").baseline
    assert monitor.record_baseline() == again
    assert again is not None
    assert (1, 0) == (again.repeats, again.differing)


def test_quantile_is_the_end_of_its_bin() -> None:
    """Above the last edge nothing is known, nor of nothing."""
    assert 1.0 == quantile([1.0, 2.0], [95, 5, 0], 0.95)
    assert 2.0 == quantile([1.0, 2.0], [94, 6, 0], 0.95)
    assert math.inf == quantile([1.0, 2.0], [94, 0, 6], 0.95)
    assert quantile([1.0, 2.0], [0, 0, 0], 0.95) is None
