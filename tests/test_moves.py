"""Where a project's files go when it becomes another variant."""

from __future__ import annotations

import pytest

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import load
from blueprint.regenerate.moves import Moves, Project
from tests.baking import ROOT, TREE

TOY = ROOT / "tests" / "fixtures" / "three-variants"
TOY_FILES = list_files(str(TOY / TREE))
PLAIN = (0o644, b"")


def moves(old: str, new: str) -> Moves:
    before, after = (Layout(load(str(TOY), name)) for name in (old, new))
    files = dict.fromkeys(before.plan(TOY_FILES).values(), PLAIN)
    return Moves(before, after, TOY_FILES, Project(files, files))


@pytest.mark.parametrize(
    ("old", "new", "path", "home"),
    [
        # The template's own files, by their source; one of them leaves its folder.
        (
            *("monolith", "service-layer", "src/app/retellai/client.py"),
            "src/app/services/retellai/client.py",
        ),
        (
            *("monolith", "service-layer", "src/app/retellai/middleware.py"),
            "src/app/middleware/retell.py",
        ),
        (
            *("microservice", "monolith", "src/app/infrastructure/retellai/client.py"),
            "src/app/retellai/client.py",
        ),
        # What stays though its folder moves.
        ("monolith", "microservice", "src/app/retellai/types.py", "src/app/retellai/types.py"),
        # The owner's, with their folder, however deep.
        (
            *("monolith", "service-layer", "src/app/retellai/mine/x.py"),
            "src/app/services/retellai/mine/x.py",
        ),
        (
            *("service-layer", "monolith", "src/app/services/retellai/mine.py"),
            "src/app/retellai/mine.py",
        ),
        (
            "service-layer",
            "microservice",
            "src/app/queue/m.py",
            "src/app/infrastructure/queue/m.py",
        ),
        # What no folder of the template takes along.
        ("monolith", "service-layer", "src/app/mine.py", "src/app/mine.py"),
        ("monolith", "service-layer", "src/app/retellai_mine.py", "src/app/retellai_mine.py"),
        # What the new variant has not stays where it is, should it be kept.
        ("service-layer", "monolith", "src/app/queue/processor.py", "src/app/queue/processor.py"),
        ("monolith", "monolith", "src/app/retellai/client.py", "src/app/retellai/client.py"),
    ],
)
def test_a_file_goes_where_the_template_has_it_or_its_folder(
    old: str, new: str, path: str, home: str
):
    assert moves(old, new).new_path(path) == home


@pytest.mark.parametrize("old", ["monolith", "service-layer", "microservice"])
@pytest.mark.parametrize("new", ["monolith", "service-layer", "microservice"])
def test_the_way_there_and_back_ends_where_it_began(old: str, new: str):
    there, back = moves(old, new), moves(new, old)
    shared = there.homes
    assert shared
    for new_home, old_home in shared.items():
        assert there.new_path(old_home) == new_home
        assert back.new_path(new_home) == old_home
    mine = ["src/app/retellai/mine.py", "src/app/services/mine.py", "mine/x.py"]
    homes = [there.new_path(path) for path in mine]
    assert len(set(homes)) == len(mine)


def test_names_of_modules_are_followed_in_the_new_layout():
    found = moves("monolith", "microservice")
    for old, new in (
        ("app.retellai.client", "app.infrastructure.retellai.client"),
        ("app.retellai.types.Call", "app.retellai.types.Call"),
    ):
        assert found.new_name(old, "src/app/mine.py") == new
        assert found.rewritten(f"import {old}\n", "src/app/mine.py") == f"import {new}\n"


def test_a_readme_that_was_written_for_its_variant_is_not_rewritten():
    found = moves("monolith", "service-layer")
    text = "See `src/app/retellai/client.py`.\n"
    assert found.rewritten(text, "README.md") == text
    assert found.rewritten(text, "docs/mine.md") != text
