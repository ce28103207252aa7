"""The command that migrates starts quickly: Retell's SDK, a second of imports, stays out of it."""

import os
import subprocess
import sys

from tests.support.databases import Databases


def test_the_command_imports_no_sdk(databases: Databases) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "app.database", "current"],
        env=os.environ | {"DATABASE_URL": databases.new("sqlite", migrated=False)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "app.database.migrations" in imported
    assert not {name for name in imported if name.split(".")[0] == "retell"}
    assert ended.stdout == "The tables are at: nothing\n"
