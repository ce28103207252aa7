"""Where both sides changed the same, both are kept, and it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz_regenerating import (
    PristineProjects,
    tree_of,
)
from tests.baking import (
    User,
    commit_all,
    git,
)
from tests.regenerating import (
    BOOTSTRAP,
    assert_no_conflict,
    edit,
    marked,
    regenerated,
    text,
    unmerged,
    write,
)


def test_a_conflict_shows_all_three_sides_and_who_they_are(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**BOOTSTRAP)
    said = regenerated(user, history, "service-layer")
    assert text(project, "src/app/bootstrap.py") == '''\
"""The wiring."""

import app.services.retellai.client as retell
import app.settings


def build() -> str:
    """Return the name of the wiring."""
<<<<<<< yours (monolith)
    return f"ours {retell.RetellClient.__name__} {app.settings.NUMBER}"
||||||| monolith
    return f"monolith {retell.RetellClient.__name__} {app.settings.NUMBER}"
=======
    return f"service_layer {retell.RetellClient.__name__} {app.settings.NUMBER}"
>>>>>>> service-layer
'''  # fmt: skip
    assert "src/app/bootstrap.py" in said
    assert "conflict" in said.lower()
    assert unmerged(project) == {"src/app/bootstrap.py"}
    assert marked(project) == {"src/app/bootstrap.py"}
    assert "UU src/app/bootstrap.py" in git(project, "status", "--porcelain").splitlines()
    # git knows all three sides, for tools that show them.
    sides = [git(project, "show", f":{stage}:src/app/bootstrap.py") for stage in (1, 2, 3)]
    assert ['f"monolith' in sides[0], 'f"ours' in sides[1], 'f"service_layer' in sides[2]] == (
        [True] * 3
    )


def test_a_solved_conflict_is_over(user: User, history: Path, bake: Callable[..., Path]):
    project = bake(**BOOTSTRAP)
    regenerated(user, history, "service-layer")
    merged = re.sub(r"<<<<<<< .*?\n(.*?)\|\|\|\|\|\|\|.*?>>>>>>> .*?\n", r"\1",
                    text(project, "src/app/bootstrap.py"), flags=re.DOTALL)  # fmt: skip
    write(project, {"src/app/bootstrap.py": merged})
    commit_all(project)
    said = regenerated(user, history, "service-layer")
    assert_no_conflict(project, said)
    assert git(project, "status", "--porcelain") in ("", "M MIGRATION.md", " M MIGRATION.md")
    assert 'f"ours' in text(project, "src/app/bootstrap.py")


def test_no_line_is_lost_where_both_sides_have_a_file(
    user: User, history: Path, bake: Callable[..., Path]
):
    own = '"""Our queue."""\n\nOURS = 1\n'
    project = bake(**{"src/app/queue/processor.py": own, "src/app/queue/ours.py": own})
    said = regenerated(user, history, "service-layer")
    merged = text(project, "src/app/queue/processor.py")
    assert set(own.splitlines()) <= set(merged.splitlines())
    assert "def work() -> tuple[str, int]:" in merged
    assert "<<<<<<< yours (monolith)" in merged
    assert "src/app/queue/processor.py" in said
    assert unmerged(project) == {"src/app/queue/processor.py"}
    assert text(project, "src/app/queue/ours.py") == own


def test_the_same_file_on_both_sides_is_no_conflict(
    user: User, history: Path, bake: Callable[..., Path], pristine: PristineProjects
):
    same = pristine.trees["service-layer"]["src/app/services/__init__.py"].content
    project = bake(**{"src/app/services/__init__.py": same})
    said = regenerated(user, history, "service-layer")
    assert_no_conflict(project, said)


def test_two_files_of_the_owners_that_come_to_one_place_are_both_kept(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(
        **{
            "src/app/retellai/ours.py": "FIRST = 1\n",
            "src/app/services/retellai/ours.py": "SECOND = 2\n",
        }
    )
    regenerated(user, history, "service-layer")
    contents = b"".join(file.content for file in tree_of(project).values())
    assert b"FIRST = 1\n" in contents
    assert b"SECOND = 2\n" in contents


def test_an_own_file_that_is_no_text_stays_and_the_variants_comes_beside_it(
    user: User, history: Path, bake: Callable[..., Path], pristine: PristineProjects
):
    project = bake(**{"src/app/queue/processor.py": b"\0ours"})
    said = regenerated(user, history, "service-layer")
    assert (project / "src/app/queue/processor.py").read_bytes() == b"\0ours"
    theirs = pristine.trees["service-layer"]["src/app/queue/processor.py"].content
    assert (project / "src/app/queue/processor.py.service-layer").read_bytes() == theirs
    assert "src/app/queue/processor.py" in said


def test_a_file_that_the_new_variant_drops_stays_if_it_was_edited(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake("service-layer")
    edit(project, "src/app/queue/processor.py", '"""Work."""', '"""Work for us."""')
    commit_all(project)
    said = regenerated(user, history, "monolith")
    assert '"""Work for us."""' in text(project, "src/app/queue/processor.py")
    assert "src/app/queue/processor.py" in said
    assert not (project / "src/app/queue/__init__.py").exists()
    assert not (project / "src/app/services").exists()


def test_what_the_owner_deleted_stays_deleted_and_is_told_if_the_variant_has_another(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    for path in ("src/app/bootstrap.py", "docs/guide.md", "src/app/retellai/middleware.py"):
        (project / path).unlink()
    commit_all(project)
    said = regenerated(user, history, "service-layer")
    after = tree_of(project)
    assert "src/app/bootstrap.py" not in after
    assert "docs/guide.md" not in after
    assert "src/app/middleware/retell.py" not in after
    assert "src/app/retellai/middleware.py" not in after
    assert "src/app/bootstrap.py" in said
    assert unmerged(project) <= {"src/app/bootstrap.py"}


def test_an_own_migration_guide_is_not_lost(user: User, history: Path, bake: Callable[..., Path]):
    project = bake(**{"MIGRATION.md": "# How we moved our data\n"})
    regenerated(user, history, "service-layer")
    assert any(b"# How we moved our data\n" in file.content for file in tree_of(project).values())


def test_notes_in_the_guide_survive_the_next_time(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    regenerated(user, history, "service-layer")
    edit(project, "MIGRATION.md", "## Left for you\n", "## Left for you\n\nAsk Ann first.\n")
    commit_all(project)
    regenerated(user, history, "microservice")
    assert "Ask Ann first." in text(project, "MIGRATION.md")
