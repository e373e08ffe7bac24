"""Real ffmpeg, new and old, publishes to the whole program: taken, refused with a reason, or told where to watch."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ingest.rtmp.client import PublishStarted
from tests.live.media_files import FFMPEG, make_flv
from tests.live.rtmp_kit import Encoder, is_head, playlist, state, tags
from tests.up import Up, until

DEBIAN = shutil.which("ffmpeg")
ENCODERS = [pytest.param(FFMPEG, id="bundled"), *([pytest.param(DEBIAN, id="of-the-system")] if DEBIAN else [])]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flv(tmp_path_factory.mktemp("film") / "film.flv", 8, b_frames=2)


def publish(ffmpeg: str, film: Path, url: str) -> subprocess.Popen[str]:
    """Again and again, until it is ended."""
    line = [ffmpeg, "-v", "error", "-re", "-stream_loop", "-1", "-i", str(film), "-c", "copy", "-f", "flv", url]
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def complaint(process: subprocess.Popen[str]) -> str:
    """What ffmpeg shows to the person at the encoder when it gives up by itself."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    return errors


def slug_of(ffmpeg: str, what: str) -> str:
    return f"ff-{what}-{'bundled' if ffmpeg == FFMPEG else 'system'}"


@pytest.mark.parametrize("ffmpeg", ENCODERS)
def test_a_feed_goes_on_the_air_and_ends_clean(mbashara_up: Up, film: Path, ffmpeg: str) -> None:
    slug = slug_of(ffmpeg, "air")
    key = mbashara_up.channel_add(slug).primary_key
    process = publish(ffmpeg, film, f"{mbashara_up.rtmp_url}/{key}")
    until(lambda: playlist(mbashara_up, slug).count("#EXT-X-PART:") > 3, "no parts")
    told = state(mbashara_up, slug)
    assert told["state"] == "live"
    process.terminate()
    process.communicate(timeout=60)
    until(lambda: state(mbashara_up, slug)["state"] == "ended", "did not end")
    ledger = mbashara_up.data / "recordings" / str(told["broadcast"]) / "ledger.jsonl"
    until(lambda: '"fact":"ended"' in ledger.read_text(), "the end is not on record")
    assert '"reason":"feed ended"' in ledger.read_text(), (
        "FCUnpublish was understood: a broken connection is waited for"
    )
    assert "#EXT-X-ENDLIST" in playlist(mbashara_up, slug)


@pytest.mark.parametrize("ffmpeg", ENCODERS)
def test_a_wrong_key_is_refused_in_words(mbashara_up: Up, film: Path, ffmpeg: str) -> None:
    errors = complaint(publish(ffmpeg, film, f"{mbashara_up.rtmp_url}/no-such-key"))
    assert "This stream key is wrong or was revoked." in errors


@pytest.mark.parametrize("ffmpeg", ENCODERS)
def test_no_key_is_refused_in_words(mbashara_up: Up, film: Path, ffmpeg: str) -> None:
    assert "No stream key" in complaint(publish(ffmpeg, film, mbashara_up.rtmp_url))


@pytest.mark.parametrize("ffmpeg", ENCODERS)
def test_a_second_publisher_is_refused_and_the_first_goes_on(mbashara_up: Up, film: Path, ffmpeg: str) -> None:
    slug = slug_of(ffmpeg, "second")
    url = f"{mbashara_up.rtmp_url}/{mbashara_up.channel_add(slug).primary_key}"
    first = publish(ffmpeg, film, url)
    until(lambda: state(mbashara_up, slug).get("state") == "live", "not on the air")
    assert "in use by another encoder" in complaint(publish(ffmpeg, film, url))
    before = playlist(mbashara_up, slug)
    until(lambda: playlist(mbashara_up, slug) not in ("", before), "the first feed stands still")
    assert first.poll() is None
    first.terminate()
    first.communicate(timeout=60)


@pytest.mark.parametrize("ffmpeg", ENCODERS)
def test_play_is_told_where_to_watch(mbashara_up: Up, ffmpeg: str) -> None:
    line = [ffmpeg, "-v", "error", "-i", f"{mbashara_up.rtmp_url}/ikulu", "-f", "null", "-"]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "does not play over RTMP" in complaint(process)


@pytest.mark.parametrize("chunk_size", [128, 4096, 60_000])
def test_every_chunk_size_goes_on_the_air(mbashara_up: Up, film: Path, chunk_size: int) -> None:
    """ffmpeg itself adopts the size that we offer."""
    slug = f"chunk-{chunk_size}"
    key = mbashara_up.channel_add(slug).primary_key
    sent = [tag for tag in tags(film) if tag[1] < 5000]
    with Encoder(mbashara_up, key, chunk_size) as encoder:
        assert encoder.answer == PublishStarted()
        for tag in sent:
            if is_head(tag):
                encoder.send(*tag)
        for tag in sent:
            if not is_head(tag):
                encoder.send(*tag)
        until(lambda: playlist(mbashara_up, slug).count("#EXTINF:") > 0, "no segments")
        encoder.unpublish()
        until(lambda: state(mbashara_up, slug)["state"] == "ended", "did not end")
    assert "#EXT-X-DISCONTINUITY\n" not in playlist(mbashara_up, slug)
