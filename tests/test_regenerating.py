"""Regenerating a project as another variant asks one question and follows what moves."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from benchmarks.fuzz_regenerating import (
    PristineProjects,
    Tree,
    tree_of,
)
from tests import owner
from tests.baking import (
    User,
    commit_all,
    environment,
    git,
    record_of,
    run,
    tool,
)
from tests.regenerating import (
    FOLLOWED,
    SLUG,
    assert_no_conflict,
    edit,
    passes_its_tests,
    regenerate,
    regenerated,
    text,
    write,
)


def at_terminal(user: User, cwd: Path, *arguments: str | Path) -> pexpect.spawn[str]:
    """Start cookiecutter at a terminal in `cwd`."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "cookiecutter", *map(str, arguments)],
        cwd=str(cwd),
        env=environment(cwd, user.home) | {"TERM": "xterm", "COLUMNS": "200"},
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 200),
    )


def end_of(terminal: pexpect.spawn[str]) -> tuple[str, int]:
    """Read to the end; return what was said and the exit code."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return (terminal.before or "").replace("\r\n", "\n"), terminal.exitstatus or 0


@pytest.mark.parametrize("inside", [False, True], ids=["from above", "from inside"])
def test_nothing_is_asked_but_the_variant(
    inside: bool, user: User, history: Path, bake: Callable[..., Path], pristine: PristineProjects
):
    project = bake()
    cwd, record, output = (
        (project, ".blueprint.json", ["-o", ".."])
        if inside
        else (user.out, f"{SLUG}/.blueprint.json", [])
    )
    terminal = at_terminal(user, cwd, history, "-f", "--replay-file", record, *output)
    terminal.expect(r"\[1/1\]\S* ")
    terminal.expect("monolith")
    terminal.expect(r"Choose from.*: ")
    terminal.sendline("2")
    said, code = end_of(terminal)
    assert code == 0, said
    assert "[2/" not in said
    assert [path.name for path in user.out.iterdir()] == [SLUG]
    found = tree_of(project)
    assert "# " in found.pop("MIGRATION.md").content.decode()
    assert found == pristine.trees["service-layer"]


def test_a_script_gives_no_answer_but_the_slug_and_the_variant(user: User, history: Path):
    answers = {"project_name": "Mine", "project_slug": SLUG, "description": "Only mine."}
    project = user.bake(history, variant="monolith", **answers)
    commit_all(project)
    regenerated(user, history, "service-layer")
    assert text(project, "README.md").startswith("# Mine, the service-layer\n")
    assert record_of(project)["cookiecutter"] == answers


def test_inside_a_project_without_an_output_folder_the_right_command_is_told(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    before = tree_of(user.out)
    terminal = at_terminal(user, project, history, "-f", "--replay-file", ".blueprint.json")
    terminal.expect(r"Choose from.*: ")
    terminal.sendline("2")
    said, code = end_of(terminal)
    assert code == 1, said
    assert "-o .." in said
    assert tree_of(user.out) == before
    assert not (project / SLUG).exists()

    script = user.cookiecutter(
        history, "--no-input", "-f", f"project_slug={SLUG}", "variant=service-layer", cwd=project
    )
    assert script.returncode == 1
    assert "-o .." in script.stderr
    assert tree_of(user.out) == before
    assert not (project / SLUG).exists()


@pytest.mark.parametrize("variant", ["service-layer", "microservice"])
def test_moved_modules_are_followed_in_the_owners_files_up_and_down(
    variant: str, user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**FOLLOWED)
    edit(project, "pyproject.toml", 'call = "', 'ours = "app.retellai.inner:build"\ncall = "')
    commit_all(project)
    before = tree_of(project)

    said = regenerated(user, history, variant)
    assert_no_conflict(project, said)
    home = {"service-layer": "services", "microservice": "infrastructure"}[variant]
    own = text(project, "src/app/own.py")
    assert f'CLIENT = "app.{home}.retellai.client:RetellClient"' in own
    assert f"import app.{home}.retellai.client as rc" in own
    assert f'ours = "app.{home}.retellai.inner:build"' in text(project, "pyproject.toml")
    assert (project / f"src/app/{home}/retellai/inner.py").is_file()
    assert "app.retellai.client" not in text(project, "src/app/own.py")
    passes_its_tests(project)
    assert not (project / "src/app/retellai").exists() or variant == "microservice"

    commit_all(project)
    said = regenerated(user, history, "monolith")
    assert_no_conflict(project, said)
    passes_its_tests(project)
    after = tree_of(project)
    del after["MIGRATION.md"]
    # `from . import` of what was apart for a while is an absolute import now.
    del after["src/app/retellai/inner.py"], before["src/app/retellai/inner.py"]
    assert after == before


COMMENTED = '''\
"""Ours."""

from app.retellai import (
    # The wrapper, never the SDK.
    client,  # ours to change
    # And what it speaks of:
    types,
    # Nothing else.
)
from app.retellai.types import (  # noqa: I001
    Call,
)

X = (client, types, Call)
'''


@pytest.mark.parametrize("path", ["src/app/own.py", "src/app/retellai/client.py"])
def test_comments_among_followed_imports_are_kept(
    path: str, user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**{path: COMMENTED})
    regenerated(user, history, "service-layer")
    merged = text(project, path.replace("/retellai/", "/services/retellai/"))
    for line in COMMENTED.splitlines():
        comment = line.partition("#")[2]
        assert comment in merged
    assert "app.retellai" not in merged


def test_comments_alone_make_a_dropped_file_the_owners(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake("microservice")
    path = "src/app/domain/services/retell_service.py"
    edit(project, path, "    client,  # the wrapper\n", "    # Ours.\n    client,  # the wrapper\n")
    commit_all(project)
    said = regenerated(user, history, "monolith")
    assert "    # Ours.\n" in text(project, path)
    assert path in said


def test_a_project_inside_the_project_has_modules_of_its_own_up_and_down(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake("microservice")
    path = "other-services/order-service/src/app/retellai/client.py"
    edit(project, path, "X = own", "Y = own")
    commit_all(project)
    own = text(project, path)
    regenerated(user, history, "monolith")
    assert text(project, path) == own
    commit_all(project)
    regenerated(user, history, "microservice")
    assert "from app.retellai import own\n" in text(project, path)


def test_an_import_of_what_the_new_variant_drops_is_listed_with_its_line(
    user: User, history: Path, bake: Callable[..., Path]
):
    own = '"""Ours."""\n\nfrom app.queue.processor import work\n\nWORK = work\n'
    project = bake("service-layer", **{"src/app/own.py": own})
    said = regenerated(user, history, "monolith")
    assert text(project, "src/app/own.py") == own
    assert "src/app/own.py:3" in said
    assert "app.queue.processor" in said


def test_the_record_and_the_guide_tell_where_the_project_is_now(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    said = regenerated(user, history, "service-layer")
    assert record_of(project) == {
        "cookiecutter": {
            "project_name": "Toy App",
            "project_slug": SLUG,
            "description": "A toy of three variants.",
        },
        "variant": "service-layer",
        "template": "gh:org/retell-blueprints",
        "commit": git(history, "rev-parse", "HEAD"),
    }
    guide = text(project, "MIGRATION.md")
    assert "Extract the Retell code to services/" in guide
    assert "Add caching: Redis" in guide
    assert "service layer" in guide
    assert "MIGRATION.md" in said


def test_the_guide_of_this_template_has_commands(user: User, template: Path, default_bake: Path):
    project = user.out / "voice-app"
    shutil.copytree(default_bake, project)
    commit_all(project)
    done = regenerate(user, template, "service-layer", project_slug="voice-app")
    assert done.returncode == 0, done.stdout + done.stderr
    guide = text(project, "MIGRATION.md")
    for step in ("Extract the Retell code to services/", "Add a caching layer", "Redis"):
        assert step in guide
    assert "alembic upgrade head" in guide
    assert re.search(r"- \[x\] ", guide)
    assert re.search(r"- \[ \] ", guide)


def in_project(project: Path, home: Path, *command: str) -> None:
    """Run a command in a project's own environment; it must succeed."""
    done = run(tool("uv"), "run", *command, cwd=project, home=home)
    assert done.returncode == 0, done.stdout + done.stderr


def checks_pass(project: Path, home: Path) -> None:
    """Run the owner's tests, those of the variant that concern calls, and the linters."""
    in_project(project, home, "ruff", "check")
    in_project(project, home, "ruff", "format", "--check")
    in_project(project, home, "pyrefly", "check", "--min-severity=warn")
    own = ("tests/test_billing.py", "tests/test_orders.py")
    calls = (f"tests/api/test_{name}.py" for name in ("placing_calls", "retellai", "security"))
    in_project(project, home, "pytest", "-q", *own, *calls)


IN_NO_COMMIT = (".venv/", ".pytest_cache/", ".ruff_cache/")


@pytest.mark.long
def test_a_realistic_owner_grows_and_shrinks_without_a_conflict(user: User, template: Path):
    project = user.bake(template, variant="monolith")
    middleware = text(project, "src/app/retellai/middleware.py")
    assert owner.share_of_lines_kept(middleware, owner.MIDDLEWARE) < 0.4
    owner.work_on(project)
    locked = run(tool("uv"), "lock", cwd=project, home=user.home)
    assert locked.returncode == 0, locked.stderr
    commit_all(project)
    before = tree_of(project)

    def move(variant: str) -> Tree:
        done = regenerate(user, template, variant, project_slug=project.name)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert_no_conflict(project, said)
        for path in owner.DELETED:
            assert not (project / path).exists()
        found = tree_of(project)
        return {path: found[path] for path in found if not path.startswith(IN_NO_COMMIT)}

    grown = move("service-layer")
    assert b'"python-slugify>=8,<9",' in grown["pyproject.toml"].content
    assert b'"sqlalchemy[asyncio]' in grown["pyproject.toml"].content
    assert b"PRICE_PER_MINUTE=0.07" in grown[".env.example"].content
    assert b"DATABASE_URL=" in grown[".env.example"].content
    assert b"## Orders" in grown["README.md"].content
    assert b"Asks our customers" in grown["README.md"].content
    assert b"from app.services.retellai.types import Call" in grown["src/app/billing.py"].content
    assert (
        grown["src/app/services/retellai/invoices.py"] == (before["src/app/retellai/invoices.py"])
    )
    assert grown["uv.lock"] == before["uv.lock"]
    checks_pass(project, user.home)

    write(project, {"uv.lock": before["uv.lock"].content})
    commit_all(project)
    shrunk = move("monolith")
    shrunk = {path: shrunk[path] for path in shrunk if "__pycache__" not in path}
    del shrunk["MIGRATION.md"]
    assert {path for path in before if shrunk.get(path) != before[path]} == set()
    assert set(shrunk) - set(before) == set()
    checks_pass(project, user.home)
