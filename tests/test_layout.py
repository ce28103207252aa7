"""Where files go: the longest row wins, and rows that do not fit the tree are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.errors import LayoutError
from blueprint.layout import NOT_PRUNED_NOTICES, Layout
from blueprint.manifest import load, parse
from blueprint.tree import list_files
from tests.baking import ROOT, TREE, VARIANTS

TOY = ROOT / "tests" / "fixtures" / "three-variants"
TOY_FILES = list_files(str(TOY / TREE))
VARIANTS_OF_TOY = ("monolith", "service-layer", "microservice")
SERVICE_LAYER = (TOY / "variants" / "service-layer.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variant", "source", "home"),
    [
        ("monolith", "src/app/retellai/client.py", "src/app/retellai/client.py"),
        ("monolith", "src/app/bootstrap_monolith.py", "src/app/bootstrap.py"),
        ("monolith", "src/app/bootstrap_service_layer.py", None),
        ("monolith", "src/app/queue/processor.py", None),
        ("service-layer", "src/app/bootstrap_service_layer.py", "src/app/bootstrap.py"),
        ("service-layer", "src/app/retellai/client.py", "src/app/services/retellai/client.py"),
        ("service-layer", "src/app/retellai/middleware.py", "src/app/middleware/retell.py"),
        ("service-layer", "src/app/retellai/", "src/app/services/retellai/"),
        ("microservice", "src/app/retellai/types.py", "src/app/retellai/types.py"),
        ("microservice", "src/app/retellai/mine.py", "src/app/infrastructure/retellai/mine.py"),
        ("microservice", "src/app/routes/retellai.py", "src/app/api/rest/retellai.py"),
    ],
)
def test_a_file_lives_where_the_longest_row_says(variant: str, source: str, home: str | None):
    assert Layout(load(str(TOY), variant)).destination(source) == home


def test_separate_sources_have_one_destination_in_their_variants():
    plans = {name: Layout(load(str(TOY), name)).plan(TOY_FILES) for name in VARIANTS_OF_TOY}
    sources = {
        name: [source for source, home in plan.items() if home == "src/app/bootstrap.py"]
        for name, plan in plans.items()
    }
    assert sources == {
        "monolith": ["src/app/bootstrap_monolith.py"],
        "service-layer": ["src/app/bootstrap_service_layer.py"],
        "microservice": ["src/app/bootstrap_microservice.py"],
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  - dev/",
            "  - devv/",
            "variants/x.yaml, line 18: the keep row 'devv/' matches no file of the tree",
        ),
        (
            "src/app/retellai/middleware.py: ",
            "src/app/retellai/middelware.py: ",
            "variants/x.yaml, line 37: the place row 'src/app/retellai/middelware.py' matches no",
        ),
        (
            "src/app/retellai/middleware.py: ",
            "src/app/domain/entities.py: ",
            "variants/x.yaml, line 37: the place row 'src/app/domain/entities.py' matches no kept",
        ),
        (
            "src/app/middleware/retell.py",
            "src/app/handlers.py",
            "'src/app/handlers.py' and 'src/app/retellai/middleware.py' would both live at",
        ),
        (
            "src/app/middleware/retell.py",
            "src/app/Handlers.py",
            "'src/app/handlers.py' and 'src/app/retellai/middleware.py' would both live at",
        ),
        (
            "src/app/middleware/retell.py",
            "Dockerfile/retell.py",
            "'Dockerfile' would live at 'Dockerfile', where 'src/app/retellai/middleware.py' needs",
        ),
    ],
)
def test_rows_that_do_not_fit_the_tree_are_named(old: str, new: str, message: str):
    assert old in SERVICE_LAYER
    layout = Layout(parse(SERVICE_LAYER.replace(old, new, 1), "variants/x.yaml"))
    with pytest.raises(LayoutError) as refusal:
        layout.plan(TOY_FILES)
    assert message in str(refusal.value)


def test_all_misfits_are_reported_at_once():
    text = SERVICE_LAYER.replace("- dev/", "- devv/").replace("- Dockerfile", "- Dockerfil")
    with pytest.raises(LayoutError) as refusal:
        Layout(parse(text, "variants/x.yaml")).plan(TOY_FILES)
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("root", "variants"),
    [(ROOT, VARIANTS), (TOY, VARIANTS_OF_TOY)],
    ids=["the template", "the toy"],
)
def test_every_file_of_the_tree_is_kept_by_a_variant(root: Path, variants: list[str]):
    tree = set(list_files(str(root / TREE)))
    kept = {path for name in variants for path in Layout(load(str(root), name)).plan(tree)}
    assert tree - kept == set(NOT_PRUNED_NOTICES)
