"""Where files go: the longest row wins, and rows that do not fit the tree are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import load, parse
from blueprint.errors import LayoutError
from tests.baking import ROOT, TREE, VARIANTS

# For a bake whose hooks were refused. They are in no layer.
NOT_PRUNED_NOTICES = ("README.md", "app.py")

TOY = ROOT / "tests" / "fixtures" / "three-variants"
TOY_FILES = list_files(str(TOY / TREE))
VARIANTS_OF_TOY = ("monolith", "service-layer", "microservice")
SERVICE_LAYER = (TOY / "variants" / "service-layer.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variant", "source", "home"),
    [
        ("monolith", "base/src/app/retellai/client.py", "src/app/retellai/client.py"),
        ("monolith", "in-process/src/app/bootstrap.py", "src/app/bootstrap.py"),
        ("monolith", "service-layer/src/app/bootstrap.py", None),
        ("monolith", "durable/src/app/queue/processor.py", None),
        ("monolith", "app.py", None),
        ("monolith", "base.py", None),
        ("service-layer", "service-layer/src/app/bootstrap.py", "src/app/bootstrap.py"),
        ("service-layer", "base/src/app/retellai/client.py", "src/app/services/retellai/client.py"),
        ("service-layer", "base/src/app/retellai/middleware.py", "src/app/middleware/retell.py"),
        ("service-layer", "durable/src/app/retellai/x.py", "src/app/services/retellai/x.py"),
        ("microservice", "base/src/app/retellai/types.py", "src/app/retellai/types.py"),
        ("microservice", "base/src/app/retellai/x.py", "src/app/infrastructure/retellai/x.py"),
        ("microservice", "base/src/app/routes/retellai.py", "src/app/api/rest/retellai.py"),
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
        "monolith": ["in-process/src/app/bootstrap.py"],
        "service-layer": ["service-layer/src/app/bootstrap.py"],
        "microservice": ["microservice/src/app/bootstrap.py"],
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  - durable",
            "  - durabel",
            "variants/x.yaml, line 17: the layer 'durabel' has no file in the tree",
        ),
        (
            "src/app/retellai/middleware.py: ",
            "src/app/retellai/middelware.py: ",
            "variants/x.yaml, line 22: the place row 'src/app/retellai/middelware.py' matches no",
        ),
        (
            "src/app/retellai/middleware.py: ",
            "src/app/domain/entities.py: ",
            "variants/x.yaml, line 22: the place row 'src/app/domain/entities.py' matches no",
        ),
        (
            "src/app/middleware/retell.py",
            "src/app/handlers.py",
            "'base/src/app/handlers.py' and 'base/src/app/retellai/middleware.py' would both",
        ),
        (
            "src/app/middleware/retell.py",
            "src/app/Handlers.py",
            "'base/src/app/handlers.py' and 'base/src/app/retellai/middleware.py' would both",
        ),
        (
            "  - service-layer\n",
            "  - service-layer\n  - microservice\n",
            "'microservice/README.md' and 'service-layer/README.md' would both live at",
        ),
        (
            "src/app/middleware/retell.py",
            "Dockerfile/retell.py",
            "'base/Dockerfile' would live at 'Dockerfile', where 'base/src/app/retellai/",
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
    text = SERVICE_LAYER.replace("- durable", "- durabel").replace("middleware.py:", "middle.py:")
    with pytest.raises(LayoutError) as refusal:
        Layout(parse(text, "variants/x.yaml")).plan(TOY_FILES)
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("root", "variants"),
    [(ROOT, VARIANTS), (TOY, VARIANTS_OF_TOY)],
    ids=["the template", "the toy"],
)
def test_every_folder_of_the_tree_is_a_layer_of_a_variant(root: Path, variants: list[str]):
    tree = set(list_files(str(root / TREE)))
    folders = {path.partition("/")[0] for path in tree if "/" in path}
    layers = {layer.name for name in variants for layer in load(str(root), name).layers}
    assert folders - layers == set(), "no manifest names them in `layers:`"
    assert layers - folders == set(), "manifests name them, and the tree has no such folder"
    assert {path for path in tree if "/" not in path} == set(NOT_PRUNED_NOTICES)


def test_every_variant_of_the_question_has_a_manifest_of_that_name(template: Path):
    for root, variants in ((template, VARIANTS), (TOY, VARIANTS_OF_TOY)):
        assert [load(str(root), name).name for name in variants] == list(variants)
