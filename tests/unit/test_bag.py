"""BagIt packages (RFC 8493) of recordings: out, checked by bagit-python and by the RFC's own rules, and in again, where
nothing that a bag says is believed."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import bagit
import pytest

from archive.recordings import bag, bag_import, bag_stream
from archive.recordings.about import from_files
from archive.recordings.bag_errors import BagError, Fault
from archive.recordings.bag_import import import_bag
from archive.recordings.ledger import CUSTODY_NAME, Ledger, make_fact
from core.web.i18n import Language
from tests.unit.recording_kit import ID, ORIGIN_MS, OTHER_ID, PUBLIC_KEY, make_recording

NOW = datetime(2026, 11, 28, 22, tzinfo=UTC)
TOP = f"mbashara-{ID}"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    (tmp_path / "recordings").mkdir()
    return tmp_path / "recordings"


def make_bag(recording: Path, target: Path, may_link: bool = False) -> Path:
    tags = {"metadata/keys.json": b'{"keys": []}\n'}
    bag.write_folder(recording, target, from_files(recording), tags, NOW, ("sha256", "sha512"), may_link)
    return target


def make_tar(recording: Path, target: Path) -> Path:
    with target.open("wb") as file:
        bag.write_tar(recording, file, from_files(recording), {"metadata/about.txt": b"hii\n"}, NOW)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bag_is_valid_to_others_and_by_the_rfc(recording: Path, tmp_path: Path) -> None:
    folder = make_bag(recording, tmp_path / "bag")
    subprocess.run(["tar", "xf", make_tar(recording, tmp_path / "bag.tar"), "-C", tmp_path], check=True)
    for each in (folder, tmp_path / TOP):
        outside = bagit.Bag(str(each))
        outside.validate()
        assert outside.info["External-Identifier"] == ID
        assert outside.info["External-Description"] == ["Kikao cha Bunge", "Sitting of Parliament"]
        assert outside.info["Bagging-Date"] == "2026-11-28"
        obeys_the_rfc(each)
        assert files(each / "data") == files(recording)
    (tmp_path / "bag" / "data" / "source" / "0.m4s").unlink()
    with pytest.raises(AssertionError):
        obeys_the_rfc(folder)


def obeys_the_rfc(folder: Path) -> None:
    """RFC 8493, sections 2 and 3, read from the text and from nothing of ours."""
    declaration = (folder / "bagit.txt").read_bytes()
    assert declaration == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"  # 2.1.1, no byte-order mark
    payload = {f"data/{name}" for name in files(folder / "data")}
    manifests = list(folder.glob("manifest-*.txt"))
    assert manifests
    for manifest in [*manifests, *folder.glob("tagmanifest-*.txt")]:
        algorithm = manifest.stem.rpartition("-")[2]
        listed = {}
        for line in manifest.read_text("utf-8").splitlines():
            found = re.fullmatch(r"([0-9a-f]+)  ([^\\~/%][^\\%]*)", line)
            assert found is not None, line
            assert found[2] not in listed and ".." not in found[2].split("/")
            listed[found[2]] = found[1]
        if manifest in manifests:
            assert set(listed) == payload  # 3: every payload manifest lists every payload file
        else:  # 2.2.1: no tag manifest lists a payload file or a tag manifest, each lists all payload manifests
            assert not any(name.startswith(("data/", "tagmanifest-")) for name in listed)
            assert {one.name for one in manifests} | {"bagit.txt", "bag-info.txt"} <= set(listed)
        for name, digest in listed.items():
            assert hashlib.new(algorithm, (folder / name).read_bytes()).hexdigest() == digest
    info = (folder / "bag-info.txt").read_text("utf-8").splitlines()
    octets = sum((folder / name).stat().st_size for name in payload)
    assert f"Payload-Oxum: {octets}.{len(payload)}" in info
    assert all(re.fullmatch(r"[A-Za-z-]+: \S.*", line) for line in info)


def test_a_folder_links_only_what_it_may_and_what_never_grows(recording: Path, tmp_path: Path) -> None:
    apart, linked = make_bag(recording, tmp_path / "apart"), make_bag(recording, tmp_path / "linked", may_link=True)
    assert not any(os.path.samefile(apart / "data" / name, recording / name) for name in files(recording))
    for name in files(recording):
        assert name not in bag.GROWING or not os.path.samefile(linked / "data" / name, recording / name)
    with pytest.raises(BagError) as refused:
        make_bag(recording, linked)
    assert refused.value.fault is Fault.TAKEN and bagit.Bag(str(linked)).is_valid()


def test_a_damaged_or_growing_recording_gets_no_bag(tmp_path: Path) -> None:
    growing = make_recording(tmp_path / "growing", is_over=False)
    changed = make_recording(tmp_path / "changed")
    (changed / "source" / "1.m4s").write_bytes(b"x" * 901)
    gone = make_recording(tmp_path / "gone")
    (gone / "source" / "1.m4s").unlink()
    unsigned = make_recording(tmp_path / "unsigned", is_signed=False)
    destroyed = make_recording(tmp_path / "destroyed")
    for path in destroyed.glob("*/*"):
        path.unlink()
    Ledger(destroyed, CUSTODY_NAME).append(make_fact("deletion", ORIGIN_MS, outcome="success"))
    for place, fault in (
        (growing, Fault.ON_AIR),
        (unsigned, Fault.UNSIGNED),
        (changed, Fault.LEDGER),
        (gone, Fault.MISSING),
        (destroyed, Fault.DESTROYED),
    ):
        with pytest.raises(BagError) as refused:
            make_bag(place, tmp_path / "bag")
        assert refused.value.fault is fault
        assert not [path for path in tmp_path.iterdir() if "bag" in path.name]


def test_what_is_not_signed_yet_stays_out(recordings: Path, tmp_path: Path) -> None:
    """Work writes what was done with a recording, and signs it some seconds later."""
    made = make_recording(tmp_path / "made")
    before = (made / "custody.jsonl").read_bytes()
    Ledger(made, CUSTODY_NAME).append(make_fact("replication", ORIGIN_MS, agent="mbashara", outcome="success"))
    import_bag(make_bag(made, tmp_path / "bag"), recordings, {PUBLIC_KEY})
    assert (recordings / ID / "custody.jsonl").read_bytes() == before


@pytest.mark.parametrize("make", [make_bag, make_tar])
def test_a_bag_comes_back_as_it_went(
    make: Callable[[Path, Path], Path], recording: Path, recordings: Path, tmp_path: Path
) -> None:
    made = make(recording, tmp_path / "package")
    first, second = import_bag(made, recordings, {PUBLIC_KEY}), import_bag(made, recordings, {PUBLIC_KEY})
    assert (first.recording_id, first.is_new, second.is_new) == (ID, True, False)
    assert files(recordings / ID) == files(recording)
    assert list((recordings / bag_import.INCOMING).iterdir()) == []


def test_a_bag_of_another_program_is_taken(recording: Path, recordings: Path, tmp_path: Path) -> None:
    """bagit-python's own, with two kinds of checksums, lower down in a tar of GNU tar's."""
    shutil.copytree(recording, tmp_path / "any name")
    bagit.make_bag(str(tmp_path / "any name"), {"Contact-Name": "Juma"}, checksums=["sha512", "md5"])
    subprocess.run(["tar", "cf", tmp_path / "given.tar", "-C", tmp_path, "any name"], check=True)
    assert import_bag(tmp_path / "given.tar", recordings).is_new
    assert files(recordings / ID) == files(recording)


def rewrite(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def rebag(folder: Path, name: str, data: bytes) -> None:
    """A liar who can write checksums: the file and every manifest agree."""
    (folder / name).write_bytes(data)
    shutil.rmtree(folder / "metadata")
    for path in folder.glob("*.txt"):
        path.unlink()
    for path in list((folder / "data").iterdir()):
        path.rename(folder / path.name)
    (folder / "data").rmdir()
    bagit.make_bag(str(folder), checksums=["sha256"])


def name_line(folder: Path, name: str) -> None:
    path = folder / "manifest-sha256.txt"
    path.write_text(path.read_text() + f"{'0' * 64}  {name}\n")


def add(folder: Path, name: str, data: bytes = b"x") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def weaken(folder: Path) -> None:
    unlist(folder)
    lines = [f"{hashlib.md5(data).hexdigest()}  data/{name}\n" for name, data in files(folder / "data").items()]
    (folder / "manifest-md5.txt").write_text("".join(lines))


def untold(folder: Path, act: Callable[[], object]) -> None:
    """Tag manifests may be left out, so they can't be what protects."""
    for path in folder.glob("tagmanifest-*.txt"):
        path.unlink()
    (folder / "manifest-sha512.txt").unlink()
    act()


def unlist(folder: Path) -> None:
    for path in folder.glob("*manifest-*.txt"):
        path.unlink()


def twins(folder: Path) -> None:
    """The same word, its accent a letter's part and a sign of its own."""
    add(folder, "metadata/\u00e9.txt")
    add(folder, "metadata/e\u0301.txt")


def no_oxum(folder: Path) -> None:
    """One more file than the manifest has, and nothing that counts them."""
    add(folder, "data/more.txt")
    for path in folder.glob("tagmanifest-*.txt"):
        path.unlink()
    (folder / "bag-info.txt").unlink()


def change(path: Path) -> None:
    """One bit, in a copy: the bag's media may be the recording's own."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def escaping_ledger() -> bytes:
    return json.dumps({"prev": "0" * 64, "fact": "started", "recording": "../../x"}).encode() + b"\n"


def planned(recording: Path, parts: Path) -> bag_stream.Plan:
    with parts.open("wb") as file:
        tags: dict[str, bag.Tag] = {"metadata/about.txt": b"hii\n"}
        made = bag_stream.plan_tar(recording, file, from_files(recording), tags, NOW, len)
    parts.with_name("plan").write_text(made.as_json())
    return bag_stream.read_plan(parts.with_name("plan"))


def test_a_tar_that_nobody_stores_is_the_one_that_is_written(recording: Path, tmp_path: Path) -> None:
    tar, parts = make_tar(recording, tmp_path / "bag.tar").read_bytes(), tmp_path / "parts"
    plan = planned(recording, parts)
    assert (plan.size, plan.sha256) == (len(tar), hashlib.sha256(tar).hexdigest())
    media = sum(one.length for one in plan.stretches if one.name)
    assert parts.stat().st_size == len(tar) - media and media > 10_000, "media are not stored again"
    for begin, end in ((0, len(tar)), (0, 1), (700, 12_345), (len(tar) - 3, len(tar)), (5000, 5000), (9000, len(tar))):
        assert b"".join(bag_stream.read(plan, parts, recording, begin, end)) == tar[begin:end], (begin, end)


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"?", lambda data: data[:-1]], ids=["other", "shorter"])
def test_a_file_that_changed_meanwhile_cuts_it_short(
    spoil: Callable[[bytes], bytes], recording: Path, tmp_path: Path
) -> None:
    copy, sent = Path(shutil.copytree(recording, tmp_path / recording.name)), b""
    plan = planned(copy, tmp_path / "parts")
    path = copy / "source" / "2.m4s"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(bag_stream.Changed):
        for data in bag_stream.read(plan, tmp_path / "parts", copy, 0, plan.size):
            sent += data
    assert 0 < len(sent) < plan.size


LIES: list[tuple[str, Callable[[Path], object], Fault]] = [
    ("no declaration", lambda f: (f / "bagit.txt").unlink(), Fault.NO_BAG),
    ("another version", lambda f: rewrite(f, "bagit.txt", "1.0", "2.0"), Fault.NO_BAG),
    ("another encoding", lambda f: rewrite(f, "bagit.txt", "UTF-8", "UTF-16"), Fault.NO_BAG),
    ("no manifest", unlist, Fault.NO_BAG),
    ("weak checksums alone", lambda f: weaken(f), Fault.ALGORITHM),
    ("unknown algorithm", lambda f: add(f, "manifest-crc32.txt"), Fault.ALGORITHM),
    ("manifest of noise, untold", lambda f: untold(f, lambda: add(f, "manifest-sha256.txt", b"no\n")), Fault.MALFORMED),
    ("manifest not text", lambda f: untold(f, lambda: add(f, "manifest-sha256.txt", b"\xff\xfe")), Fault.ENCODING),
    ("fetch", lambda f: add(f, "fetch.txt", b"https://example.org/1 1 data/1\n"), Fault.FETCH),
    ("payload missing", lambda f: untold(f, lambda: name_line(f, "data/9.m4s")), Fault.MISSING),
    ("payload extra, honest sum", no_oxum, Fault.EXTRA),
    ("payload extra", lambda f: add(f, "data/more.txt"), Fault.OXUM),
    ("oxum lies", lambda f: untold(f, lambda: rewrite(f, "bag-info.txt", "Oxum: 2", "Oxum: 3")), Fault.OXUM),
    ("a byte changed", lambda f: change(f / "data/source/1.m4s"), Fault.CHECKSUM),
    ("a tag file changed", lambda f: change(f / "metadata/keys.json"), Fault.CHECKSUM),
    ("up and out", lambda f: untold(f, lambda: name_line(f, "data/../../x")), Fault.ESCAPES),
    ("from the root", lambda f: untold(f, lambda: name_line(f, "/etc/passwd")), Fault.ESCAPES),
    ("from home", lambda f: untold(f, lambda: name_line(f, "~root/x")), Fault.ESCAPES),
    ("encoded way out", lambda f: untold(f, lambda: name_line(f, "data/%2e%2E/x")), Fault.ESCAPES),
    ("a drive", lambda f: untold(f, lambda: name_line(f, "C:\\x")), Fault.ESCAPES),
    ("backslashes", lambda f: untold(f, lambda: name_line(f, "data\\..\\..\\x")), Fault.ESCAPES),
    ("named twice", lambda f: untold(f, lambda: name_line(f, "data/source/1.m4s")), Fault.TWICE),
    ("capitals", lambda f: add(f, "data/source/INIT-0.mp4"), Fault.TWICE),
    ("accents", twins, Fault.TWICE),
    ("odd name", lambda f: add(f, "data/.ssh"), Fault.ODD_NAME),
    ("a link", lambda f: (f / "data/source/link").symlink_to("/etc/passwd"), Fault.NO_FILE),
    ("a pipe", lambda f: os.mkfifo(f / "data/source/pipe"), Fault.NO_FILE),
    ("no ledger", lambda f: rebag(f, "data/ledger.jsonl", b""), Fault.LEDGER),
    ("a media file swapped", lambda f: rebag(f, "data/source/1.m4s", b"y" * 901), Fault.LEDGER),
    ("one more file", lambda f: rebag(f, "data/source/99.m4s", b"y"), Fault.LEDGER),
    ("signatures gone", lambda f: rebag(f, "data/signatures.jsonl", b""), Fault.LEDGER),
    ("an id that is a path", lambda f: rebag(f, "data/ledger.jsonl", escaping_ledger()), Fault.NO_RECORDING),
]


@pytest.mark.parametrize(("lie", "fault"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_lying_bag_is_refused_and_leaves_nothing(
    lie: Callable[[Path], object], fault: Fault, recording: Path, recordings: Path, tmp_path: Path
) -> None:
    folder = make_bag(recording, tmp_path / "bag")
    lie(folder)
    with pytest.raises(BagError) as refused:
        import_bag(folder, recordings, {PUBLIC_KEY})
    assert refused.value.fault is fault, refused.value
    assert files(recordings) == {}
    assert not (tmp_path / "x").exists() and not (tmp_path.parent / "x").exists()
    assert refused.value.text(Language.SW) != refused.value.text(Language.EN)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made


MEMBERS: list[tuple[str, tarfile.TarInfo, Fault]] = [
    ("up and out", member(f"{TOP}/../../x"), Fault.ESCAPES),
    ("from the root", member("/tmp/x"), Fault.ESCAPES),
    ("a link", member(f"{TOP}/data/l", tarfile.SYMTYPE, link="/etc/passwd"), Fault.NO_FILE),
    ("a hard link", member(f"{TOP}/data/l", tarfile.LNKTYPE, link="/etc/passwd"), Fault.NO_FILE),
    ("a device", member(f"{TOP}/data/d", tarfile.CHRTYPE), Fault.NO_FILE),
    ("a pipe", member(f"{TOP}/data/p", tarfile.FIFOTYPE), Fault.NO_FILE),
    ("the same name", member(f"{TOP}/data/source/1.m4s"), Fault.TWICE),
    ("two tops", member("other/data/1.m4s"), Fault.NO_BAG),
    ("a lying size", member(f"{TOP}/data/huge", size=1 << 50), Fault.CUT_OFF),
    ("endless headers", member(f"{TOP}/x", tarfile.XHDTYPE, size=1 << 40), Fault.TOO_LARGE),
]


@pytest.mark.parametrize(("more", "fault"), [one[1:] for one in MEMBERS], ids=[one[0] for one in MEMBERS])
def test_a_hostile_tar_is_refused_before_anything_is_written(
    more: tarfile.TarInfo, fault: Fault, recording: Path, recordings: Path, tmp_path: Path
) -> None:
    made = make_tar(recording, tmp_path / "bag.tar").read_bytes().rstrip(b"\0")
    made += b"\0" * (-len(made) % tarfile.BLOCKSIZE)
    (tmp_path / "bag.tar").write_bytes(made + more.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(BagError) as refused:
        import_bag(tmp_path / "bag.tar", recordings)
    assert refused.value.fault is fault, refused.value
    assert list(recordings.iterdir()) == []


def test_a_cut_or_packed_tar_is_refused_at_any_length(recording: Path, recordings: Path, tmp_path: Path) -> None:
    whole = make_tar(recording, tmp_path / "whole.tar").read_bytes()
    for length in (0, 1, 511, 512, 1300, 5000, len(whole) // 2, len(whole) - 12_000):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(BagError):
            import_bag(tmp_path / "cut.tar", recordings)
    import gzip

    (tmp_path / "packed.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(BagError):
        import_bag(tmp_path / "packed.tar", recordings)
    assert list(recordings.iterdir()) == []


def test_another_recording_of_the_same_id_stays(recordings: Path, tmp_path: Path) -> None:
    mine = make_recording(recordings, seed=2)
    before = files(mine)
    theirs = make_bag(make_recording(tmp_path / "theirs", seed=3), tmp_path / "bag")
    with pytest.raises(BagError) as refused:
        import_bag(theirs, recordings)
    assert refused.value.fault is Fault.ANOTHER and files(mine) == before


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda f: change(f / "data/source/1.m4s"), "is damaged: data/source/1.m4s is not what it was"),
        (lambda f: (f / "data/source/1.m4s").unlink(), "is damaged: The package says that it has"),
        (lambda f: change(f / "data/ledger.jsonl"), "is damaged: "),
        (lambda f: rebag(f, "data/source/1.m4s", b"y" * 901), "is damaged: The recording does not agree"),
        (lambda f: (f / "bagit.txt").unlink(), "This is no BagIt package"),
    ],
    ids=["a byte", "a file", "the ledger", "a lie", "the declaration"],
)
def test_a_damaged_bag_of_what_is_here_is_told_as_damaged(
    damage: Callable[[Path], object], why: str, recording: Path, recordings: Path, tmp_path: Path
) -> None:
    folder = make_bag(recording, tmp_path / "bag")
    import_bag(folder, recordings, {PUBLIC_KEY})
    before = files(recordings / ID)
    damage(folder)
    with pytest.raises(BagError) as refused:
        import_bag(folder, recordings, {PUBLIC_KEY})
    told = refused.value.text(Language.EN)
    assert why in told and told.endswith(f"The recording {ID} is here already and was left as it is."), told
    assert refused.value.text(Language.SW).endswith(f"Rekodi {ID} tayari ipo hapa na imeachwa kama ilivyo.")
    assert files(recordings / ID) == before
    cut = tmp_path / "cut.tar"
    cut.write_bytes(make_tar(recording, tmp_path / "whole.tar").read_bytes()[:9000])
    with pytest.raises(BagError) as refused:
        import_bag(cut, recordings, {PUBLIC_KEY})
    assert refused.value.text(Language.EN).endswith("Nothing here was changed."), "it does not tell which it was"


def test_a_signature_of_someone_else_is_not_enough(recording: Path, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError) as refused:
        import_bag(make_bag(recording, tmp_path / "bag"), recordings, {b"\1" * 32})
    assert refused.value.fault is Fault.STRANGER and files(recordings) == {}


def test_a_killed_import_goes_on_where_it_was(recording: Path, recordings: Path, tmp_path: Path) -> None:
    """Killed in the middle for real; what was whole is not copied again, what was torn is."""
    made = make_tar(recording, tmp_path / "bag.tar")
    program = (
        "import os, sys; from pathlib import Path; from archive.recordings import bag_import as b\n"
        "copy, done = b._copy, []\n"
        "def slow(*given):\n"
        "    done.append(1)\n"
        "    if len(done) == 6: os.kill(os.getpid(), 9)\n"
        "    return copy(*given)\n"
        "b._copy = slow; b.import_bag(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    killed = subprocess.run([sys.executable, "-c", program, made, recordings], cwd=Path.cwd(), timeout=120)
    assert killed.returncode == -9
    staged = recordings / bag_import.INCOMING / ID
    whole = next(path for path in staged.rglob("*.m4s"))
    kept = whole.stat().st_ino
    (whole.parent / "init-0.mp4.new").write_bytes(b"torn")
    assert import_bag(made, recordings).is_new
    assert files(recordings / ID) == files(recording)
    assert (recordings / ID / whole.relative_to(staged)).stat().st_ino == kept


def test_a_full_disk_says_so_and_a_later_try_succeeds(
    recording: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_bag(recording, tmp_path / "bag")

    def full(source: io.BytesIO, target: Path) -> bool:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(bag_import, "clone", full)
        with pytest.raises(OSError, match="no space"):
            import_bag(made, recordings)
    assert not (recordings / ID).exists()
    assert import_bag(made, recordings).is_new


def test_two_recordings_are_two_folders(recordings: Path, tmp_path: Path) -> None:
    for number, recording in enumerate((ID, OTHER_ID)):
        made = make_recording(tmp_path / str(number), recording=recording)
        import_bag(make_bag(made, tmp_path / f"bag {number}"), recordings)
    assert {path.name for path in recordings.iterdir()} == {ID, OTHER_ID, bag_import.INCOMING}
