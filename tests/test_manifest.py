"""Reading manifests: what they say, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from blueprint.bake.manifest import load, parse
from blueprint.errors import ManifestError
from tests.baking import ROOT, VARIANTS

TOY = ROOT / "tests" / "fixtures" / "three-variants"
EVERY_MANIFEST = [
    *(ROOT / "variants" / f"{name}.yaml" for name in VARIANTS),
    *sorted((TOY / "variants").glob("*.yaml")),
]

GOOD = (TOY / "variants" / "service-layer.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EVERY_MANIFEST, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_manifest_means_to_the_engine_what_it_means_to_a_yaml_library(path: Path):
    theirs = yaml.safe_load(path.read_text(encoding="utf-8"))
    ours = load(str(path.parent.parent), path.stem)
    assert path.stem == ours.name
    assert {
        "name": ours.name,
        "title": ours.title,
        "summary": ours.summary,
        "audience": ours.audience,
        "fits": ours.fits,
        "layers": [layer.name for layer in ours.layers],
        "place": {row.source: row.destination for row in ours.place},
        "was": {row.now: row.before for row in ours.was},
        "steps": list(ours.steps),
        "left_going_up": list(ours.left_going_up),
        "left_going_down": list(ours.left_going_down),
    } == {"was": {}, "left_going_up": [], "left_going_down": [], **theirs}


def test_each_row_knows_its_line():
    lines = GOOD.splitlines()
    for layer in parse(GOOD, "variants/x.yaml").layers:
        assert layer.name in lines[layer.line - 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Service layer\n", "", "variants/x.yaml: the field 'title' is missing"),
        ("name: service-layer", "nmae: x", "variants/x.yaml, line 2: not understood: 'nmae: x'"),
        ("  - durable", "  durable", "line 17: not understood: '  durable'"),
        ("  - durable", "  - ../x", "line 17: '../x' is not a plain path"),
        ("  - durable", "  - /durable", "line 17: '/durable' is not a plain path"),
        ("  - durable", "  - x/durable", "line 17: the layer 'x/durable' is no folder's name"),
        ("  - durable", "  - durable/", "line 17: the layer 'durable/' is no folder's name"),
        ("  - durable", "  - base", "line 17: the layers row 'base' is already at line 16"),
        ("/retell.py", "/", "line 22: 'src/app/retellai/middleware.py' and 'src/app/middleware/'"),
        (
            ": src/app/middleware/retell.py",
            ": ../outside.py",
            "line 22: '../outside.py' is not a plain path inside the project",
        ),
        ("  team: 5-20\n", "", "'fits' must have exactly these facts: team, daily_users"),
        ("steps:", "layers:", "line 24: the field 'layers' is repeated"),
    ],
)
def test_a_broken_manifest_is_refused_by_file_and_line(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(ManifestError) as refusal:
        parse(GOOD.replace(old, new, 1), "variants/x.yaml")
    assert str(refusal.value).startswith("variants/x.yaml")
    assert message in str(refusal.value)


def test_a_missing_manifest_is_named(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"variants/nope\.yaml does not exist"):
        load(str(tmp_path), "nope")
