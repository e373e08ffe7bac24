"""The steps that bring a database to this version's shape are one chain, in the order of their files' numbers: by the
last one's it is known, without Alembic, that nothing is to be done."""

from alembic.script import ScriptDirectory

from core.database import MIGRATIONS


def test_the_steps_follow_their_files_numbers() -> None:
    chain = [step.revision for step in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    files = [path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    assert chain == sorted(files, reverse=True) and len(chain) > 10
