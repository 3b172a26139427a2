"""What Prometheus reads at `/metrics`: counters of the threads, fetched when asked for, and the histogram of the picture's age."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

# seconds; the goal for the p95 is 0.15, the limit for a slow browser 0.5
AGE_BUCKETS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Reading(NamedTuple):
    """One number at one moment. Names of counters (`rises`) end in _total where Prometheus sees them."""

    name: str
    help: str
    value: float
    rises: bool
    labels: dict[str, str] | None = None


class _Readings(Collector):
    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering reads nothing: the threads do not run yet

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for reading in self._read():
            labels = reading.labels or {}
            if reading.name not in families:
                kind = CounterMetricFamily if reading.rises else GaugeMetricFamily
                families[reading.name] = kind(f"trichoscope_{reading.name}", reading.help, labels=list(labels))
            families[reading.name].add_metric(list(labels.values()), reading.value)
        return families.values()


class Metrics:
    """The daemon's own registry; nothing global, so that two daemons in one process do not meet."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        """`read` gives the present numbers of the threads; it is called for each scrape."""
        self.registry = CollectorRegistry()
        self.picture_age_s = Histogram(
            "trichoscope_picture_age_seconds",
            "From the capture of a frame to the browser's word that it is drawn",
            buckets=AGE_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_Readings(read))
        ProcessCollector(registry=self.registry)
