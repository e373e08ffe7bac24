"""What a media process tells Prometheus, read when it is asked for: the way of a frame counts nothing twice."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from archive.recordings.recorder import Recorder
from core.broadcasts.dry_runs import is_test_path
from ingest.health.issues import Level
from mbashara.channel import Channel
from mbashara.channels import Channels
from player.delivery import Delivery


class MediaMetrics(Collector):
    """Units are in the names; labels are channel, role of the feed, rendition."""

    def __init__(self, channels: Channels, delivery: Delivery, recorder: Recorder) -> None:
        self._channels, self._delivery, self._recorder = channels, delivery, recorder
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_feeds()
        yield from self._of_renditions()
        yield GaugeMetricFamily("mbashara_waiting_requests", "Requests that wait for a part.", self._delivery.waiting)
        yield GaugeMetricFamily(
            "mbashara_disk_refuses", "1 while the disk does not take recordings: an alarm.", self._recorder.failing
        )
        yield GaugeMetricFamily(
            "mbashara_memory_refuses",
            "1 while the memory folder does not take what viewers get: an alarm.",
            self._channels.is_refused,
        )
        yield GaugeMetricFamily(
            "mbashara_recorder_queued_bytes", "Bytes on the way to the disk.", self._recorder.queued_bytes
        )

    def _of_feeds(self) -> Iterator[Metric]:
        labels = ["channel", "role"]
        feeds = GaugeMetricFamily("mbashara_feed_connected", "1 for each feed that is connected.", labels=labels)
        received = CounterMetricFamily("mbashara_feed_received_bytes", "Media bytes received.", labels=labels)
        bitrate = GaugeMetricFamily("mbashara_feed_bitrate_bps", "Bit/s over the last second.", labels=labels)
        rate = GaugeMetricFamily("mbashara_feed_frames_per_second", "Video frames a second of media.", labels=labels)
        interval = GaugeMetricFamily("mbashara_feed_keyframe_interval_seconds", "Between keyframes.", labels=labels)
        skipped = CounterMetricFamily(
            "mbashara_feed_skipped_messages", "Messages with no media we take.", labels=labels
        )
        issues = GaugeMetricFamily(
            "mbashara_feed_issues", "Issues of a feed's health, by level.", labels=[*labels, "level"]
        )
        for channel, feed in self._channels.feeds():
            if is_test_path(channel.slug):
                continue  # an address that nobody is to guess
            at, measures = [channel.slug, feed.role], feed.health.measures
            feeds.add_metric(at, 1)
            received.add_metric(at, feed.bytes_in)
            bitrate.add_metric(at, measures.received_bps)
            rate.add_metric(at, measures.frame_rate or 0)
            interval.add_metric(at, measures.gop_s or 0)
            skipped.add_metric(at, feed.skipped)
            levels = [one.level for one in feed.health.issues]
            for level in Level:
                issues.add_metric([*at, level], levels.count(level))
        yield from (feeds, received, bitrate, rate, interval, skipped, issues)

    def _of_renditions(self) -> Iterator[Metric]:
        on_air = GaugeMetricFamily("mbashara_broadcast_on_air", "1 live, 0 while its feed is away.", labels=["channel"])
        breaks = CounterMetricFamily("mbashara_discontinuities", "Breaks of the timeline.", labels=["channel"])
        restarts = CounterMetricFamily("mbashara_transcoder_restarts", "Starts again of ffmpeg.", labels=["channel"])
        left_out = GaugeMetricFamily(
            "mbashara_rungs_left_out", "Rungs that this machine is too slow for now.", labels=["channel"]
        )
        labels = ["channel", "rendition"]
        delay = GaugeMetricFamily(
            "mbashara_part_delay_seconds",
            "From the end of a part's media to its publication, last part.",
            labels=labels,
        )
        dropped = CounterMetricFamily("mbashara_dropped_packets", "Packets that fit no segment.", labels=labels)
        for channel in self._broadcasting():
            broadcast = channel.broadcast
            assert broadcast is not None
            on_air.add_metric([channel.slug], 0 if broadcast.is_lost else 1)
            breaks.add_metric([channel.slug], broadcast.discontinuities)
            restarts.add_metric([channel.slug], broadcast.restarts)
            left_out.add_metric([channel.slug], len(broadcast.left_out))
            for name, rendition in broadcast.renditions.items():
                delay.add_metric([channel.slug, name], rendition.part_delay_s)
                dropped.add_metric([channel.slug, name], rendition.packager.dropped)
        yield from (on_air, breaks, restarts, left_out, delay, dropped)

    def _broadcasting(self) -> list[Channel]:
        return [
            channel for channel in self._channels.channels.values()
            if channel.broadcast is not None and not is_test_path(channel.slug)
        ]  # fmt: skip
