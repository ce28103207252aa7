"""Merging examples of .env, ignore files and Markdown, each by its own kind of entry."""

from __future__ import annotations

import re

from blueprint.merge.entries import (
    BLANK,
    COMMENT,
    Entry,
    Key,
    gathered,
    merge_file,
    merge_file_or_lines,
    numbered,
)
from blueprint.merge.lines import Conflict, merge_lines, split_lines

# A setting, or one that is commented out. Prose may have "=" too, but no capitals right before it.
SETTING = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=|#\s?(?:export\s+)?([A-Z_][A-Z0-9_]*)=")
HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\n")
FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})([^\n]*)\n")

TITLE: Key = ("title",)
ABOVE_THE_TITLE: Key = ("above the title",)


def merge_env(base: str, ours: str, theirs: str) -> str:
    """Merge examples of .env by setting; each setting has the comment above it with it."""
    return merge_file_or_lines(base, ours, theirs, settings, merge_comments)


def settings(body: str) -> list[Entry]:
    """Return the settings of a .env file, and the comments that belong to none."""
    return numbered(gathered((setting_key(line), line) for line in split_lines(body)))


def setting_key(line: str) -> Key:
    """Return the key of a line of a .env file."""
    match = SETTING.match(line)
    if match:
        return ("setting", match[1] or match[2])
    if not line.strip():
        return BLANK
    return COMMENT if line.lstrip().startswith("#") else ("line", line)


def merge_comments(key: Key, base: str, ours: str, theirs: str) -> str:
    """Merge a comment that belongs to no setting; a setting with two new values is a conflict."""
    if key[0] != "comment":
        raise Conflict
    return merge_lines(base, ours, theirs)


def merge_ignore(base: str, ours: str, theirs: str) -> str:
    """Merge ignore files as lines of which each is there or not, in the order of theirs."""
    return merge_file(base, ours, theirs, patterns, merge_comments)


def patterns(body: str) -> list[Entry]:
    """Return the lines of an ignore file; a comment is a line like any other."""
    lines = split_lines(body)
    return numbered(gathered((("line", line) if line.strip() else BLANK, line) for line in lines))


def merge_markdown(base: str, ours: str, theirs: str) -> str:
    """Merge Markdown by section, and sections that both sides changed by lines."""
    return merge_file_or_lines(base, ours, theirs, sections, merge_sections, below)


def merge_sections(_key: Key, base: str, ours: str, theirs: str) -> str:
    """Merge a section that both sides changed; two that were both added are not one."""
    if not base:
        raise Conflict
    return merge_lines(base, ours, theirs)


def sections(body: str) -> list[Entry]:
    """Return the sections of a Markdown file: a heading with what is below it, up to the next.

    A section's key holds its level and the headings that it is under, without the file's title.
    """
    found: list[Entry] = []
    above: list[str] = []
    key = ABOVE_THE_TITLE
    text = gap = ""
    fence = ""
    for line in split_lines(body):
        heading = None if fence else HEADING.fullmatch(line)
        fence = fence_after(line, fence)
        if heading is None:
            text += line
            continue
        content = text.rstrip("\n")
        if content:
            found.append(Entry(key, gap, "", f"{content}\n"))
            gap = text[len(content) + 1 :]
        level = len(heading[1])
        if level == 1 and not any(entry.key != ABOVE_THE_TITLE for entry in found):
            key = TITLE
        else:
            above = [*above[: level - 1], *[""] * (level - 1 - len(above)), heading[2] or ""]
            key = ("section", str(level), *above)
        text = line
    return numbered([*found, Entry(key, gap, "", text)] if text else found)


def fence_after(line: str, fence: str) -> str:
    """Return the fence of the code block that is open after a line; empty if none is."""
    match = FENCE.fullmatch(line)
    if match is None:
        return fence
    if not fence:
        # Code in a sentence may begin with backticks too.
        return "" if match[1][0] == "`" and "`" in match[2] else match[1]
    closes = match[1].startswith(fence) and not match[2].strip()
    return "" if closes else fence


def below(key: Key, other: Key) -> bool:
    """Tell whether a section is a part of the other when it follows it."""
    return level_of(key) > level_of(other)


def level_of(key: Key) -> int:
    """Return the level of a section's heading."""
    return int(key[1]) if key[0] == "section" else 1
