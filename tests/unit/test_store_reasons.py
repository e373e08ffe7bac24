"""What a store says, in words of the reader's language, with its own text behind them."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from archive.recordings.locations import reasons
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.s3 import S3Store
from archive.recordings.locations.s3_client import Limits
from core.web.i18n import Language
from tests.unit.test_s3_client import at

HASTY = Limits(connect_timeout_s=0.3, read_timeout_s=0.3, attempts=1)


@pytest.mark.parametrize(
    ("said", "sw"),
    [
        ("a/1.m4s: PutObject: 403 SignatureDoesNotMatch: The request", "utambulisho (ufunguo au siri yake) si sahihi"),
        ("a/1.m4s: HeadObject: 403: Forbidden",  # a HEAD has no body that would say which
         "utambulisho (ufunguo au siri yake) si sahihi, au hauruhusiwi kufanya hivi"),
        ("a/1.m4s: PutObject: 403 AccessDenied: no", "utambulisho huu hauruhusiwi kufanya hivi"),
        ("a/1.m4s: PutObject: 404 NoSuchBucket: none", "hakuna ndoo (bucket) ya jina hilo"),
        ("there is no bucket pili", "hakuna ndoo (bucket) ya jina hilo"),
        ("a/1.m4s: PutObject: 507 XMinioStorageFull: full", "hakuna nafasi iliyobaki"),
        ("a/1.m4s: HeadObject: 404: Not Found", "hakuna kitu cha jina hili"),
        ("a/1.m4s: PutObject: 503 SlowDown: wait", "ina kazi nyingi mno kwa sasa"),
        ("a/1.m4s: PutObject: 500: oops", "ina hitilafu yake yenyewe"),
        ("k: SSL validation failed for https://x/b [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)",
         "muunganisho salama (TLS) nayo haupatikani"),  # plain HTTP is spoken there
        ("k: SSL validation failed for https://x/b [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired",
         "cheti chake hakiaminiki hapa"),
        ('a/507.m4s: Read timeout on endpoint URL: "http://x/403"', "imekwama: haijibu kwa wakati"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_has_words(said: str, sw: str) -> None:
    assert reasons.tell(said, Language.SW) == f"{sw} (“{said}”)"
    assert reasons.tell(said, Language.EN).endswith(f" (“{said}”)")


def test_what_nobody_knows_is_told_as_it_is() -> None:
    assert reasons.tell("a/403.m4s: odd", Language.SW) == "a/403.m4s: odd"
    assert reasons.tell("a/1.m4s: not what was sent", Language.SW) == "a/1.m4s: si kilichotumwa"


def test_a_store_that_refuses_or_hangs_says_which(tmp_path: Path) -> None:
    """Nobody at the port; somebody who says nothing; a folder that is not there."""
    with socket.socket() as nobody, socket.socket() as silent:
        for door in (nobody, silent):
            door.bind(("127.0.0.1", 0))
        silent.listen()
        told = []
        for store in (S3Store(at(nobody), HASTY), S3Store(at(silent), HASTY), FolderStore("pili", tmp_path / "no")):
            with closing(store), pytest.raises(StoreError) as failed:
                store.put_bytes("a/1.m4s", b"x")
            told.append(failed.value.text(Language.SW))
    assert told[0].startswith("mahali mbali: haifikiki: hakuna anayesikiliza kwenye anwani yake (“a/1.m4s: Connection")
    assert told[1].startswith("mahali mbali: haifikiki: imekwama: haijibu kwa wakati (“a/1.m4s: Read timeout")
    assert told[2].endswith("/no: hakuna faili wala folda hiyo")
