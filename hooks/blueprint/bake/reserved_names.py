"""Names that a project cannot have, because something else in its environment has them."""

from __future__ import annotations

import keyword
import re
import sys

# Folders of the tree that are importable in every project.
OWN_PACKAGES = frozenset({"app", "dev", "src", "tests"})

# Windows keeps these names for devices, in every folder.
WINDOWS_DEVICES = frozenset(
    {"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)

# A requirement as pyproject.toml spells it: "retell-sdk[aiohttp]>=6.2.11,<7".
REQUIREMENT = re.compile(
    r"(?:^\s*|\[)\"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?[<>=~!]", re.MULTILINE
)

# The dependencies of the direct dependencies of any variant: a project may become any of them.
# A test compares this with resolved environments.
BROUGHT_ALONG = """
    aiohappyeyeballs aiohttp aiosignal annotated-doc annotated-types async-timeout attrs
    beartype burner-redis cachetools certifi cffi charset-normalizer click cloudpickle colorama
    cronsim cryptography deprecated distro execnet fasteners frozenlist googleapis-common-protos
    graphql-core greenlet grimp h11 harfile httpcore httptools httpx-aiohttp hypothesis
    hypothesis-graphql idna iniconfig jsonschema-rs jsonschema-specifications mako
    markdown-it-py markupsafe mdurl multidict opentelemetry-api
    opentelemetry-exporter-http-transport opentelemetry-exporter-otlp-common
    opentelemetry-exporter-otlp-proto-common opentelemetry-proto
    opentelemetry-semantic-conventions packaging platformdirs pluggy propcache protobuf psutil
    py-key-value-aio pycparser pydantic-core pygments pyrate-limiter python-dotenv
    python-json-logger pyyaml referencing requests rich rpds-py shellingham sniffio
    sortedcontainers starlette tenacity typer typing-inspection tzdata uncalled-for urllib3
    uvloop valkey watchfiles websockets werkzeug wrapt yarl
"""


def why_taken(slug: str, pyproject: str) -> str | None:
    """Return what has the name `slug` already; None when it is free.

    The pyproject files may hold template marks, so requirements are found by their look.
    """
    module = slug.replace("-", "_")
    if keyword.iskeyword(module):
        return "it is a word of the Python language"
    if module in OWN_PACKAGES:
        return "it is a package of every project"
    if module in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    if slug in WINDOWS_DEVICES:
        return "it is a device on Windows"
    if slug in BROUGHT_ALONG.split() or slug in dependencies(pyproject):
        return "it is the name of a package that the project needs, so it could not be installed"
    return None


def dependencies(pyproject: str) -> frozenset[str]:
    """Return the names of the packages that a pyproject.toml requires, in their normal spelling."""
    return frozenset(normal(match[1]) for match in REQUIREMENT.finditer(pyproject))


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (the Simple Repository API's rule)."""
    return re.sub(r"[-_.]+", "-", name).lower()
