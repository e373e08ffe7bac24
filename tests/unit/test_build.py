"""What styles and scripts are built of is there for whoever builds them, and whoever changes it has them built anew."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = (ROOT / "core/web/build.mjs").read_text()
FOLDERS = {
    "/".join(re.findall("'([^']+)'", words)[:-1]) for words in re.findall(r"entryPoints: \[join\(root, (.*?)\)", BUILD)
}


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_every_folder_of_sources_is_known(folder: str) -> None:
    copied = re.findall(
        r"^COPY (\S+) \S+$", (ROOT / "docker/Dockerfile").read_text().partition("npm run build")[0], re.M
    )
    assert any(Path(folder).is_relative_to(one) for one in copied), "the image is built of it"
    rule = re.search(r"^\$\(STAMP\)/web:.*shell find (.*) -type f", (ROOT / "Makefile").read_text(), re.M)
    assert rule is not None
    watched = [one for words in rule[1].split() for one in ROOT.glob(words)]
    assert ROOT / folder in watched, "make builds anew when it changes"
