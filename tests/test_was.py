"""Rows of ``was:`` bring a project of an older commit to the paths and names of the present one."""

from __future__ import annotations

import pytest

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import Was, load, parse
from blueprint.errors import LayoutError, ManifestError
from blueprint.regenerate.moves import Moves, Project, Step, moves_since, names_since
from tests.baking import ROOT, TREE

TOY = ROOT / "tests" / "fixtures" / "three-variants"
TOY_FILES = list_files(str(TOY / TREE))
SERVICE_LAYER = (TOY / "variants" / "service-layer.yaml").read_text(encoding="utf-8")


def rows(text: str) -> list[Was]:
    """Return rows as a manifest has them, one a line."""
    pairs = (line.split(": ") for line in text.split("\n"))
    return [Was(now, before, 1) for now, before in pairs]


def since(text: str, *base: str) -> dict[str, str]:
    """Return the new path of each path of a base that has another one now."""
    step = Step(moves_since(rows(text), base), (), ())
    return {path: step.new_path(path) for path in base if step.new_path(path) != path}


def test_a_file_gets_the_path_that_it_has_now():
    assert since("engine/calls.py: gateway.py", "gateway.py", "x.py") == {
        "gateway.py": "engine/calls.py"
    }


def test_a_project_that_has_the_new_path_already_is_left_alone():
    assert since("engine/calls.py: gateway.py", "engine/calls.py") == {}
    # A file that was split: the old path is another file by now.
    assert since("engine/calls.py: gateway.py", "engine/calls.py", "gateway.py") == {}


def test_a_folder_goes_with_everything_in_it_but_the_files_that_have_a_row_of_their_own():
    moved = since("new/: old/\nelsewhere/y.py: old/y.py", "old/x.py", "old/deep/z.py", "old/y.py")
    assert moved == {
        "old/x.py": "new/x.py",
        "old/deep/z.py": "new/deep/z.py",
        "old/y.py": "elsewhere/y.py",
    }


def test_an_owners_file_in_a_folder_that_moved_goes_with_it():
    step = Step(moves_since(rows("new/: old/"), ["old/x.py"]), (), ())
    assert step.new_path("old/mine.py") == "new/mine.py"
    assert step.new_path("older/mine.py") == "older/mine.py"


@pytest.mark.parametrize("order", ["b.py: a.py\nc.py: b.py", "c.py: b.py\nb.py: a.py"])
def test_what_moved_twice_is_brought_all_the_way_from_either_commit(order: str):
    assert since(order, "a.py") == {"a.py": "c.py"}
    assert since(order, "b.py") == {"b.py": "c.py"}
    assert since(order, "c.py") == {}


def test_a_file_out_of_a_folder_that_moved_before_is_found():
    order = "new/: old/\ncalls.py: new/calls.py"
    assert since(order, "old/calls.py", "old/x.py") == {
        "old/calls.py": "calls.py",
        "old/x.py": "new/x.py",
    }
    assert since(order, "new/calls.py", "new/x.py") == {"new/calls.py": "calls.py"}


def module(text: str) -> tuple[int, bytes]:
    """Return a Python file."""
    return 0o644, text.encode()


def test_a_name_is_followed_from_projects_that_define_it_under_its_old_name():
    row = rows("app.ports.Gateway: app.types.Gateway")
    old = {"src/app/types.py": module("class Gateway: ...\nclass Call: ...\n")}
    new = {"src/app/ports.py": module("class Gateway: ...\n")}
    assert names_since(row, old) == [("app.types.Gateway", "app.ports.Gateway")]
    assert names_since(row, new) == []
    assert (
        names_since(row, {**new, "src/app/types.py": module("from app.ports import Gateway\n")})
        == []
    )
    assert names_since(row, {"src/app/types.py": module("class Call: ...\n")}) == []


def test_a_name_that_moved_twice_is_followed_all_the_way():
    both = rows("app.b.X: app.a.X\napp.c.X: app.b.X")
    assert names_since(both, {"src/app/a.py": module("X = 1\n")}) == [("app.a.X", "app.c.X")]
    assert names_since(both, {"src/app/b.py": module("X = 1\n")}) == [("app.b.X", "app.c.X")]


def with_was(text: str) -> str:
    """Return the manifest of the toy's service layer with rows of ``was:``."""
    lines = "".join(f"  {line}\n" for line in text.split("\n"))
    return SERVICE_LAYER.replace("\nsteps:", f"\nwas:\n{lines}\nsteps:", 1)


def toy_moves(text: str, new: str, *base: str, kept: tuple[str, ...] = ()) -> Moves:
    """Return the way to a variant of a service layer of an older commit, whose files are `base`."""
    old = Layout(parse(with_was(text), "variants/x.yaml"))
    files = {path: module("class Call: ...\n") for path in base}
    target = old if new == "service-layer" else Layout(load(str(TOY), new))
    return Moves(old, target, TOY_FILES, Project(files, files), kept)


# A file of the owner's in the folder is in no base.
OLDER = (
    "src/app/gateway/client.py",
    "src/app/gateway/types.py",
    "src/app/jobs.py",
)
ROWS = (
    "src/app/services/retellai/: src/app/gateway/\nsrc/app/queue/processor.py: src/app/jobs.py\n"
    "app.settings.Call: app.gateway.types.Call"
)


@pytest.mark.parametrize(
    ("new", "path", "home"),
    [
        ("service-layer", "src/app/gateway/client.py", "src/app/services/retellai/client.py"),
        ("monolith", "src/app/gateway/client.py", "src/app/retellai/client.py"),
        ("microservice", "src/app/gateway/client.py", "src/app/infrastructure/retellai/client.py"),
        ("microservice", "src/app/gateway/types.py", "src/app/retellai/types.py"),
        ("monolith", "src/app/gateway/mine.py", "src/app/retellai/mine.py"),
        ("microservice", "src/app/jobs.py", "src/app/infrastructure/queue/processor.py"),
        # The monolith has no such file: it stays where the present service layer has it.
        ("monolith", "src/app/jobs.py", "src/app/queue/processor.py"),
        ("monolith", "src/app/mine.py", "src/app/mine.py"),
    ],
)
def test_an_older_project_goes_through_the_present_layout_to_the_new_variant(
    new: str, path: str, home: str
):
    assert toy_moves(ROWS, new, *OLDER).new_path(path) == home


def test_imports_follow_both_steps_and_a_statement_is_split_where_one_name_left():
    moves = toy_moves(ROWS, "monolith", *OLDER)
    text = "from app.gateway.types import Call, Other\n\nX = 'app.gateway.types.Call'\n"
    assert moves.rewritten(text, "src/app/mine.py") == (
        "from app.retellai.types import Other\nfrom app.settings import Call\n\n"
        "X = 'app.settings.Call'\n"
    )
    assert moves.new_name("app.gateway.types.Call", "src/app/mine.py") == "app.settings.Call"


def test_in_code_a_name_is_not_looked_for_in_a_module_that_nobody_imported():
    moves = toy_moves(ROWS, "service-layer", *OLDER)
    text = "import app.gateway.types\n\nX = app.gateway.types.Call, app.gateway.types.Other\n"
    assert moves.rewritten(text, "src/app/mine.py") == (
        "import app.services.retellai.types\n\n"
        "X = app.gateway.types.Call, app.services.retellai.types.Other\n"
    )


def test_a_file_that_another_variant_left_is_found_when_that_comes_back():
    row = "src/app/queue/processor.py: src/app/jobs.py"
    service_layer = Layout(parse(with_was(row), "variants/x.yaml"))
    monolith = Layout(load(str(TOY), "monolith"))
    base = {"src/app/settings.py": module("")}
    kept = ("src/app/jobs.py",)
    project = Project(base, {**base, **dict.fromkeys(kept, module(""))})
    back = Moves(monolith, service_layer, TOY_FILES, project, kept)
    assert back.new_path("src/app/jobs.py") == "src/app/queue/processor.py"
    not_kept = Moves(monolith, service_layer, TOY_FILES, project)
    assert not_kept.new_path("src/app/jobs.py") == "src/app/jobs.py"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("src/app/queue/: src/app/jobs.py", "must both be files, both be folders"),
        ("app.queue.processor.work: src/app/jobs.py", "must both be files, both be folders"),
        ("src/app/queue/: ../jobs/", "'../jobs/' is not a plain path"),
        ("src/app/queue/: src/app/a/\nsrc/app/queue/: src/app/b/", "the was row"),
        ("src/app/queue/: src/app/a/\nsrc/app/services/: src/app/a/", "the was row"),
        ("src/app/queue/", "not understood"),
    ],
)
def test_a_malformed_row_is_refused_by_file_and_line(row: str, message: str):
    with pytest.raises(ManifestError) as refusal:
        parse(with_was(row), "variants/x.yaml")
    assert "variants/x.yaml, line 2" in str(refusal.value)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "now", ["src/app/nothing.py", "src/app/nothing/", "app.nothing.Call", "app.nothing.deep.Call"]
)
def test_a_row_for_what_the_variant_does_not_have_fails_the_bake(now: str):
    before = now.replace("nothing", "before")
    layout = Layout(parse(with_was(f"{now}: {before}"), "variants/x.yaml"))
    with pytest.raises(LayoutError) as refusal:
        layout.plan(TOY_FILES)
    assert str(refusal.value) == (
        f"variants/x.yaml, line 25: the was row '{now}' names nothing that the variant has"
    )


def test_a_row_for_what_moved_on_since_is_one_of_a_chain():
    text = "src/app/jobs.py: src/app/work.py\nsrc/app/queue/processor.py: src/app/jobs.py"
    assert Layout(parse(with_was(text), "variants/x.yaml")).plan(TOY_FILES)
