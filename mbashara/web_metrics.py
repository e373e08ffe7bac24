"""/metrics of the whole machine: web's own, each media worker's, and the supervisor's, in one page."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from core.broadcasts.dry_runs import is_test_path
from mbashara import probe, viewers
from mbashara.health import media_names, read_children
from mbashara.load import usages
from mbashara.settings import Settings


def labelled(families: Iterable[Metric], worker: str) -> list[Metric]:
    """The same metrics with one more label, so that those of several processes can stand in one page."""
    for family in families:
        family.samples = [sample._replace(labels={**sample.labels, "worker": worker}) for sample in family.samples]
    return list(families)


def merged(families: Iterable[Metric]) -> Sequence[Metric]:
    """One family a name: the text format forbids a second HELP or TYPE."""
    by_name: dict[str, Metric] = {}
    for family in families:
        samples: list[Sample] = by_name.setdefault(family.name, family).samples
        if samples is not family.samples:
            samples.extend(family.samples)
    return list(by_name.values())


def supervisor_metrics(settings: Settings) -> Iterable[Metric]:
    restarts = CounterMetricFamily(
        "mbashara_restarts", "Times a child process died and was started again.", labels=["child"]
    )
    running = GaugeMetricFamily("mbashara_child_running", "1 while the child process runs.", labels=["child"])
    files = GaugeMetricFamily("mbashara_child_open_files", "Open files of it alone; 0 where unknown.", labels=["child"])
    cpu = CounterMetricFamily("mbashara_child_cpu_seconds", "CPU of the child and all it started.", labels=["child"])
    memory = GaugeMetricFamily("mbashara_child_memory_bytes", "Memory of it and all it started.", labels=["child"])
    children = read_children(settings)
    used = usages(int(child["process_id"]) for child in children.values())
    for (name, child), usage in zip(children.items(), used, strict=True):
        cpu.add_metric([name], usage.family_s)
        memory.add_metric([name], usage.memory_bytes)
        files.add_metric([name], usage.open_files)
        restarts.add_metric([name], float(child["restarts"]))
        running.add_metric([name], float(child["state"] == "running"))
    return [restarts, running, cpu, memory, files]


def viewers_metric(settings: Settings) -> Metric:
    """No samples while the counter is silent. Dry runs have addresses that nobody is to guess."""
    watching = GaugeMetricFamily("mbashara_viewers", "Viewers now.", labels=["channel", "kind"])
    for slug, found in (viewers.read_file(settings) or {}).items():
        if not is_test_path(slug):
            watching.add_metric([slug, "picture"], found.viewers - found.sound_only)
            watching.add_metric([slug, "sound"], found.sound_only)
    return watching


@dataclass(frozen=True, slots=True)
class Collected:
    """Families that prometheus_client can write out."""

    families: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.families


async def metrics_text(settings: Settings) -> bytes:
    families = labelled(list(REGISTRY.collect()), "web")
    for name in media_names(settings):
        text = await asyncio.to_thread(probe.get, settings.socket(name), "/metrics")
        if text is not None:  # its absence shows in mbashara_child_running
            families += labelled(list(text_string_to_metric_families(text)), name)
    families += await asyncio.to_thread(supervisor_metrics, settings)
    families.append(viewers_metric(settings))
    return generate_latest(Collected(merged(families)))
