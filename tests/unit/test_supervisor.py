"""What the processes of the machine are given."""

from pathlib import Path

import pytest

from mbashara.settings import Settings
from mbashara.supervisor import specs

SECRETS = {
    "MBASHARA_SMTP_URL": "smtp://mtuma:siri-ya-barua@barua.example:587",
    "MBASHARA_OIDC_ISSUER": "https://kitambulisho.example",
    "MBASHARA_OIDC_CLIENT_ID": "mbashara",
    "MBASHARA_OIDC_CLIENT_SECRET": "siri-ya-kuingia",
    "MBASHARA_TIMESTAMP_PASSWORD": "siri-ya-muda",
}


def test_who_meets_strangers_first_is_given_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    children = specs(Settings(data=tmp_path), 0, 0, with_demo=True)
    # What a child gets: this process's own environment, and the spec's over it (children.py).
    given = {one.name: {**SECRETS, **one.environment} for one in children}
    told = {name: "siri" in " ".join(variables.values()) for name, variables in given.items()}
    assert told == {
        "postgres": False, "media-0": False, "web": True, "work": True, "stills": False, "edge": False, "demo": False,
    }  # fmt: skip
    for name, variables in given.items():
        if name not in ("postgres", "edge"):
            with monkeypatch.context() as child:
                for variable, value in variables.items():
                    child.setenv(variable, value)
                assert Settings().data == tmp_path


def test_media_asks_an_outside_server_as_whoever_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, reader = "postgresql://mbashara:siri@db.example/a", "postgresql://media:msomaji@db.example/a"
    monkeypatch.setenv("MBASHARA_DATABASE_URL", owner)
    monkeypatch.setenv("MBASHARA_MEDIA_DATABASE_URL", reader)
    given = {one.name: one.environment for one in specs(Settings(data=tmp_path), 0, 0, with_demo=False)}
    asked = {name: variables["MBASHARA_DATABASE_URL"] for name, variables in given.items()}
    assert asked == {"media-0": reader, "web": owner, "work": owner, "stills": "", "edge": ""}
    assert [name for name in ("media-0", "stills", "edge") if "siri" in " ".join(given[name].values())] == []
