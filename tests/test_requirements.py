"""The common part of the variants' pyproject files is the same in each, word for word."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from blueprint.bake.reserved_names import normal
from tests.baking import ROOT, source


def tables(variant: str) -> dict[str, Any]:
    """Return the pyproject.toml of a variant; its template marks stand inside strings."""
    return tomllib.loads(source(ROOT, "pyproject.toml", variant).read_text(encoding="utf-8"))


def bounds(lines: list[str]) -> dict[str, str]:
    """Return the requirement of each package by the package's name."""
    return {normal(re.split(r"[\[<>=~!]", line)[0]): line for line in lines}


MONOLITH = tables("monolith")
SERVICE_LAYER = tables("service-layer")


def test_the_service_layer_needs_all_that_the_monolith_needs_in_the_same_versions():
    small, big = MONOLITH["project"], SERVICE_LAYER["project"]
    assert bounds(small["dependencies"]).items() <= bounds(big["dependencies"]).items()
    small, big = MONOLITH["dependency-groups"], SERVICE_LAYER["dependency-groups"]
    assert bounds(small["dev"]).items() <= bounds(big["dev"]).items()


def test_every_requirement_is_listed_once_in_order_and_has_two_bounds():
    for project in (MONOLITH, SERVICE_LAYER):
        run, dev = project["project"]["dependencies"], project["dependency-groups"]["dev"]
        assert len(bounds([*run, *dev])) == len(run) + len(dev)
        assert list(bounds(run)) == sorted(bounds(run))
        assert list(bounds(dev)) == sorted(bounds(dev))
        for line in (*run, *dev, *project["build-system"]["requires"]):
            assert re.fullmatch(r"[\w.-]+(\[\w+\])?>=[\w.]+,<[\d.]+", line), line


def test_all_else_is_the_same_but_for_the_migrations_that_are_type_checked():
    included: list[str] = SERVICE_LAYER["tool"]["pyrefly"]["project-includes"]
    assert "migrations" in included
    rest = tables("service-layer")
    for path in (("project", "dependencies"), ("dependency-groups", "dev")):
        rest[path[0]][path[1]] = MONOLITH[path[0]][path[1]]
    rest["tool"]["pyrefly"]["project-includes"] = [
        path for path in included if path != "migrations"
    ]
    assert rest == MONOLITH
