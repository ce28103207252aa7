"""The manifests ``variants/<name>.yaml``: facts of a variant, its layers, its rows.

They are YAML for their readers. The engine reads the small part of YAML that they use by itself,
because importing PyYAML costs each bake 45 ms of about 700, and because every row then knows its
line. The test suite compares this reader with PyYAML on every manifest.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from blueprint.errors import ManifestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TEXTS = ("name", "title", "summary", "audience")
FACTS = ("team", "daily_users", "releases", "failure_isolation", "complexity", "time_to_market")
LISTS = ("layers", "steps")
MAPPINGS = ("fits", "place")
# These may be left out.
MORE_LISTS = ("left_going_up", "left_going_down")
MORE_MAPPINGS = ("was",)

TOP = re.compile(r"(?P<key>[a-z_]+):(?: +(?P<value>.+))?")
ROW = re.compile(r"  - (?P<value>.+)")
PAIR = re.compile(r"  (?P<key>[^\s:\"'-][^:\"']*): +(?P<value>.+)")
# One thing in a module, such as app.ports.CallGateway; with two parts it may be a file.
NAME_IN_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*){2,}")
# One line of a section: key (empty for a list), value, number of the line.
Entry = tuple[str, str, int]

TRAILING_COMMENT = re.compile(r"\s+#.*$|\s+$")


# A folder of the tree that the variant is made of.
Layer = namedtuple("Layer", ("name", "line"))
# A file or, with final slashes, a folder of the tree, and its path in the variant.
Placement = namedtuple("Placement", ("source", "destination", "line"))
# A file, a folder or a name in a module, and what it was called in older projects.
Was = namedtuple("Was", ("now", "before", "line"))


class Manifest:
    """One variant, as its file describes it."""

    def __init__(self, file: str, texts: dict[str, str], sections: dict[str, list[Entry]]) -> None:
        self.file = file
        self.name = texts["name"]
        self.title = texts["title"]
        self.summary = texts["summary"]
        self.audience = texts["audience"]
        self.fits = {key: value for key, value, _ in sections["fits"]}
        self.layers = tuple(Layer(value, line) for _, value, line in sections["layers"])
        self.place = tuple(Placement(*entry) for entry in sections["place"])
        self.was = tuple(Was(*entry) for entry in sections.get("was", ()))
        self.steps = tuple(value for _, value, _ in sections["steps"])
        self.left_going_up = tuple(value for _, value, _ in sections.get("left_going_up", ()))
        self.left_going_down = tuple(value for _, value, _ in sections.get("left_going_down", ()))

    def at(self, line: int) -> str:
        """Return the place of a row for a message: file and line."""
        return f"{self.file}, line {line}"


def load(template: str, name: str) -> Manifest:
    """Read ``variants/<name>.yaml`` of the template.

    Raises:
        ManifestError: the file is missing or a line of it is not understood.
    """
    file = f"variants/{name}.yaml"
    try:
        with open(os.path.join(template, file), encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        raise ManifestError(f"{file} does not exist in the template") from None
    return parse(text, file)


def parse(text: str, file: str) -> Manifest:
    """Read a manifest from its text; `file` is its name for messages.

    Raises:
        ManifestError: the message names the file and the line.
    """
    texts, sections = read_lines(text, file)
    for key in (*TEXTS, *LISTS, *MAPPINGS):
        if key not in texts and key not in sections:
            raise ManifestError(f"{file}: the field '{key}' is missing")
    manifest = Manifest(file, texts, sections)
    if tuple(manifest.fits) != FACTS:
        raise ManifestError(f"{file}: 'fits' must have exactly these facts: {', '.join(FACTS)}")
    for layer in manifest.layers:
        refuse_unless_plain(layer.name, manifest.at(layer.line))
        if "/" in layer.name:
            where = manifest.at(layer.line)
            raise ManifestError(f"{where}: the layer '{layer.name}' is no folder's name")
    for one, other, line in (*manifest.place, *manifest.was):
        refuse_unless_alike(one, other, manifest.at(line))
    refuse_repeated(manifest.layers, file, "layers")
    refuse_repeated([(row.source, row.line) for row in manifest.place], file, "place")
    refuse_repeated([(row.now, row.line) for row in manifest.was], file, "was")
    refuse_repeated([(row.before, row.line) for row in manifest.was], file, "was")
    return manifest


def read_lines(text: str, file: str) -> tuple[dict[str, str], dict[str, list[Entry]]]:
    """Return the top-level texts and the sections of a manifest.

    Raises:
        ManifestError: a line is neither a field, a row, nor a comment, or a field is repeated.
    """
    lists, mappings = (*LISTS, *MORE_LISTS), (*MAPPINGS, *MORE_MAPPINGS)
    texts: dict[str, str] = {}
    sections: dict[str, list[Entry]] = {}
    section = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = TRAILING_COMMENT.sub("", raw)
        if not line or line.startswith("#"):
            continue
        top = TOP.fullmatch(line)
        if top:
            section, value = top["key"], top["value"]
            if section in texts or section in sections:
                raise ManifestError(f"{file}, line {number}: the field '{section}' is repeated")
            if section in TEXTS and value:
                texts[section] = unquoted(value)
            elif section in (*lists, *mappings) and value in (None, "[]", "{}"):
                sections[section] = []
            else:
                raise ManifestError(f"{file}, line {number}: not understood: {line!r}")
            continue
        row = (PAIR if section in mappings else ROW).fullmatch(line)
        if row is None or section not in sections:
            raise ManifestError(f"{file}, line {number}: not understood: {line!r}")
        key = row.groupdict().get("key") or ""
        sections[section].append((key, unquoted(row["value"]), number))
    return texts, sections


def unquoted(value: str) -> str:
    """Return a value without the double quotes around it."""
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value


def refuse_unless_plain(path: str, where: str) -> None:
    """Refuse a path that does not surely stay inside the project.

    Raises:
        ManifestError: it is absolute, empty, not in its simplest form, or leaves the project.
    """
    if {"", ".", ".."} & set(path.removesuffix("/").split("/")) or "\\" in path:
        raise ManifestError(f"{where}: '{path}' is not a plain path inside the project")


def refuse_unless_alike(one: str, other: str, where: str) -> None:
    """Refuse a row whose sides are not both files, both folders, or both names in a module.

    Raises:
        ManifestError: they are not, or a path is not plain.
    """
    refuse_unless_plain(one, where)
    refuse_unless_plain(other, where)
    if kind(one) != kind(other):
        raise ManifestError(
            f"{where}: '{one}' and '{other}' must both be files, both be folders with a final "
            "slash, or both be dotted names of something in a module"
        )


def is_name(row: Was) -> bool:
    """Return whether a row is about a name in a module."""
    return kind(row.now) == "name"


def kind(side: str) -> str:
    """Return the kind of thing that one side of a row names."""
    if side.endswith("/"):
        return "folder"
    return "name" if NAME_IN_MODULE.fullmatch(side) else "file"


def refuse_repeated(rows: Iterable[tuple[str, int]], file: str, section: str) -> None:
    """Refuse a path that a section names twice.

    Raises:
        ManifestError: the message names both lines.
    """
    first: dict[str, int] = {}
    for path, line in rows:
        if path in first:
            raise ManifestError(
                f"{file}, line {line}: the {section} row '{path}' is already at line {first[path]}"
            )
        first[path] = line
