"""What Prometheus reads of a process. No label holds a principal, a statement or an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector

from nbgov.errors import NbgovError

if TYPE_CHECKING:
    from prometheus_client import Metric

    from nbgov.gateway.control.health import Checks
    from nbgov.gateway.house import House

TOLD = {
    "logins": "Logins that were opened, by audience.",
    "requests": "Answers of the control plane, by method and status.",
    "statements": "Statements that ran to their end, by surface and connection.",
    "statement_seconds": "How long they took until their results were closed, all together.",
    "statement_rows": "Rows that they delivered.",
    "refusals": "Statements that did not run, by surface, connection and code.",
}
router = APIRouter(tags=["health"])


class HouseCollector(Collector):
    """The metrics of a house, made when they are read.

    Args:
        house: Everything that the planes share.
        checks: Whether it can do its part.
    """

    def __init__(self, house: House, checks: Checks) -> None:
        self.house = house
        self.checks = checks

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        for name, sums in sorted(self.house.tally.sums().items()):
            labels = [label for label, _ in next(iter(sums))]
            told = TOLD.get(name, "Counted by the gateway.")
            counter = CounterMetricFamily(f"nbgov_{name}", told, labels=labels)
            for key, value in sorted(sums.items()):
                counter.add_metric([text for _, text in key], value)
            yield counter
        yield from self.state()
        ready = GaugeMetricFamily("nbgov_ready", "1 for a check that holds.", labels=["check"])
        for name, code in self.checks.now().checks.items():
            ready.add_metric([name], float(code == "ok"))
        yield ready

    def state(self) -> Iterator[Metric]:
        """What is so now."""
        house = self.house
        running = Counter((one.surface, one.connection) for one in house.works())
        gauge = GaugeMetricFamily(
            "nbgov_results_open", "Results that are open.", labels=["surface", "connection"]
        )
        for key, value in sorted(running.items()):
            gauge.add_metric(key, value)
        yield gauge
        yield GaugeMetricFamily(
            "nbgov_results_open_max", "How many may be open.", house.terms.streams_max
        )
        yield GaugeMetricFamily(
            "nbgov_draining", "1 while nothing new is begun.", float(house.is_draining)
        )
        try:
            stops = Counter(one.kind.value for one in house.store.stops())
        except NbgovError:
            return  # The check of the store says it already.
        gauge = GaugeMetricFamily("nbgov_stops", "What is stopped.", labels=["kind"])
        for kind in ("connection", "principal"):
            gauge.add_metric([kind], stops[kind])
        yield gauge
        yield InfoMetricFamily("nbgov_node", "The process that answers.", {"node": house.site.id})


@router.get("/metrics", response_class=PlainTextResponse, response_model=str)
def metrics(request: Request) -> Response:
    """Metrics of the process that answers, as Prometheus reads them."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_1_0_0)
