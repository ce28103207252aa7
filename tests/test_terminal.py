"""A person at a terminal: readable questions, and closing commands that work as printed."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pexpect
import pytest

from blueprint.bake.next_steps import as_seen_from_shell
from tests.baking import (
    NASTY_DESCRIPTION,
    NASTY_NAME,
    User,
    environment,
    record_of,
    run,
    snapshot,
    tool,
)


def start(user: User, *arguments: str | Path, path: str | None = None) -> pexpect.spawn[str]:
    """Start cookiecutter at a terminal in the folder to bake into."""
    own = environment(user.out, user.home) | {"TERM": "xterm", "COLUMNS": "200"}
    if path is not None:
        own["PATH"] = path
    return pexpect.spawn(
        sys.executable,
        ["-m", "cookiecutter", *map(str, arguments)],
        cwd=str(user.out),
        env=own,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 200),
    )


def finish(terminal: pexpect.spawn[str]) -> tuple[str, int]:
    """Read to the end; return what was said and the exit code."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return (terminal.before or "").replace("\r\n", "\n"), terminal.exitstatus or 0


def commands_in(said: str) -> list[str]:
    """Return the closing message's commands."""
    closing = said[said.index(" is ready: ") :]
    return [line[2:] for line in closing.splitlines() if line.startswith("  ")]


@pytest.mark.long
@pytest.mark.parametrize(
    ("choice", "variant", "offered", "made"),
    [
        (
            "1",
            "monolith",
            "Monolith: team of 1-5, < 10K daily users, weekly releases",
            "is ready: Monolith, for MVPs and small teams.",
        ),
        (
            "2",
            "service-layer",
            "Service layer: team of 5-20, 10K-100K daily users, daily releases",
            "is ready: Service layer, for growing teams with several integrations.",
        ),
    ],
    ids=["monolith", "service-layer"],
)
def test_the_questions_are_readable_and_the_closing_commands_work_for_every_nasty_answer(
    choice: str, variant: str, offered: str, made: str, user: User, template: Path
):
    path = os.pathsep.join((str(tool("uv").parent), os.environ["PATH"]))
    slug = "x" * 50
    terminal = start(user, template, path=path)
    terminal.expect_exact("Name of the project")
    terminal.expect_exact("(Voice App)")
    terminal.sendline(NASTY_NAME)
    terminal.expect_exact("Folder and package name")
    terminal.sendline(slug)
    terminal.expect_exact("Description, in one sentence")
    terminal.sendline(NASTY_DESCRIPTION)
    terminal.expect_exact("Variant (start simple")
    terminal.expect_exact(offered)
    terminal.sendline(choice)
    said, code = finish(terminal)
    assert code == 0, said
    assert f"{NASTY_NAME} {made}" in said
    recorded = record_of(user.out / slug)
    assert recorded["variant"] == variant
    assert recorded["cookiecutter"] == {
        "project_name": NASTY_NAME,
        "project_slug": slug,
        "description": NASTY_DESCRIPTION,
    }
    commands = commands_in(said)
    assert commands == [f"cd {slug}", "uv run python -m dev demo", "uv run pytest"]
    done = run("sh", "-ec", "\n".join(commands), cwd=user.out, home=user.home, PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    # Every test passed: no warning, and nothing was skipped or left out.
    assert re.fullmatch(r"=+ \d+ passed in .*=+", done.stdout.splitlines()[-1]), done.stdout[-9999:]


def test_without_uv_on_the_path_the_first_command_gets_it(user: User, template: Path):
    done = run(
        sys.executable, "-m", "cookiecutter", template, "--no-input",
        cwd=user.out, home=user.home, PATH="/usr/bin:/bin",
    )  # fmt: skip
    assert commands_in(done.stdout) == [
        "cd voice-app",
        "pip install uv",
        "uv run python -m dev demo",
        "uv run pytest",
    ]


@pytest.mark.parametrize("name", ["plain", "with a space", "it's", "-dash", "$HOME"])
def test_the_printed_folder_is_the_project_from_where_the_shell_is(
    name: str, user: User, template: Path
):
    done = user.cookiecutter(template, "--no-input", "-o", f"./{name}")
    assert done.returncode == 0, done.stderr
    there = run("sh", "-ec", f"{commands_in(done.stdout)[0]}; pwd -P", cwd=user.out, home=user.home)
    assert Path(there.stdout.strip()) == (user.out / name / "voice-app").resolve()


def test_a_folder_above_the_shell_is_printed_in_full(user: User, template: Path):
    (user.out / "deeper").mkdir()
    done = user.cookiecutter(template, "--no-input", "-o", "..", cwd=user.out / "deeper")
    assert commands_in(done.stdout)[0] == f"cd {shlex.quote(str(user.out / 'voice-app'))}"


def test_a_stale_shell_variable_does_not_mislead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    project = tmp_path / "voice-app"
    for stale in ("", "relative", "/nowhere", str(project), str(project / "src")):
        monkeypatch.setenv("PWD", stale)
        assert as_seen_from_shell(str(project)) == str(project)


def test_replaying_a_record_asks_for_the_variant_only(user: User, template: Path, tmp_path: Path):
    project = user.bake(template, project_name="Replayed", description="Again.")
    (tmp_path / "again").mkdir()
    again = User(user.home, tmp_path / "again")
    terminal = start(again, template, "--replay-file", project / ".blueprint.json")
    terminal.expect(r"\[1/1\]\S* Variant")
    terminal.sendline("")
    said, code = finish(terminal)
    assert code == 0, said
    assert snapshot(again.out / "replayed") == snapshot(project)
    assert record_of(project)["variant"] == "monolith"


def test_a_refusal_at_the_terminal_is_one_clear_message(user: User, template: Path):
    terminal = start(user, template)
    for answer in ("My App", "my app", "", ""):
        terminal.expect(r"\)\S*: ")
        terminal.sendline(answer)
    said, code = finish(terminal)
    assert code == 1
    assert "1 answer cannot be used, so nothing was baked:" in said
    assert "project_slug 'my app': use lower-case letters and digits" in said
    assert "such as 'my-app'" in said
    assert snapshot(user.out) == {}


def test_an_answer_that_the_terminal_cannot_show_is_escaped(user: User, template: Path):
    done = run(
        sys.executable, "-m", "cookiecutter", template, "--no-input", "project_name=Café 東京",
        cwd=user.out, home=user.home, PYTHONIOENCODING="ascii", PYTHONUTF8="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Caf\\xe9 \\u6771\\u4eac is ready" in done.stdout
