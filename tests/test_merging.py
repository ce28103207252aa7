"""Three-way merges in memory: who wins, what is kept, what is a conflict."""

from __future__ import annotations

import stat

import pytest

from blueprint.merge.files import File
from blueprint.merge.lines import Labels
from blueprint.merge.project import Merged, Merger

LABELS = Labels("monolith", "yours (monolith)", "service-layer")
PLAIN = stat.S_IFREG | 0o644
LINES = "".join(f"line {number}\n" for number in range(20))


def file(text: str | bytes, mode: int = PLAIN) -> File:
    return mode, text if isinstance(text, bytes) else text.encode()


def merge(
    base: dict[str, File], ours: dict[str, File], theirs: dict[str, File], *, same: bool = False
) -> Merged:
    return Merger(LABELS, lambda _: same).merge(base, ours, theirs)


def one(base: str | None, ours: str | None, theirs: str | None) -> Merged:
    def side(text: str | None) -> dict[str, File]:
        return {} if text is None else {"a.txt": file(text)}

    return merge(side(base), side(ours), side(theirs))


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        ("old", "old", "new", "new"),
        ("old", "mine", "old", "mine"),
        ("old", "both", "both", "both"),
        ("old", "old", None, None),
        ("old", None, "old", None),
        ("old", None, None, None),
        (None, "mine", None, "mine"),
        (None, None, "new", "new"),
        (None, "both", "both", "both"),
    ],
)
def test_what_one_side_did_is_taken(
    base: str | None, ours: str | None, theirs: str | None, result: str | None
):
    merged = one(base, ours, theirs)
    assert merged.files == ({} if result is None else {"a.txt": file(result)})
    assert merged.conflicts == merged.kept == merged.left_out == merged.merged == []


def test_edits_in_different_places_are_merged():
    merged = one(LINES, "mine\n" + LINES, LINES + "theirs\n")
    assert merged.files["a.txt"] == file("mine\n" + LINES + "theirs\n")
    assert merged.merged == ["a.txt"]


def test_edits_in_the_same_place_are_a_conflict_that_names_the_variants():
    merged = one("a\nb\nc\n", "a\nmine\nc\n", "a\ntheirs\nc\n")
    assert merged.files["a.txt"] == file(
        "a\n<<<<<<< yours (monolith)\nmine\n||||||| monolith\nb\n=======\ntheirs\n"
        ">>>>>>> service-layer\nc\n"
    )
    (conflict,) = merged.conflicts
    assert (conflict.path, conflict.base) == ("a.txt", file("a\nb\nc\n"))


def test_no_conflict_is_made_of_a_file_that_both_variants_have_alike():
    mine = {"a.py": file("a\nmine\nc\n")}
    merged = merge({"a.py": file("a\nb\nc\n")}, mine, {"a.py": file("a\nB\nc\n")}, same=True)
    assert merged.files == mine
    assert merged.conflicts == []


def test_a_file_of_the_old_variant_that_was_edited_stays():
    merged = one("old", "mine", None)
    assert merged.files == {"a.txt": file("mine")}
    assert merged.kept == ["a.txt"]


def test_what_was_deleted_stays_deleted_and_is_told_if_the_template_changed_it():
    merged = one("old", None, "new")
    assert merged.files == {}
    assert merged.left_out == ["a.txt"]


def test_two_files_of_one_name_are_a_conflict_with_every_line_of_both():
    merged = one(None, "mine\n", "theirs\n")
    text = merged.files["a.txt"][1].decode()
    assert "\nmine\n" in text
    assert "\ntheirs\n" in text
    assert [conflict.path for conflict in merged.conflicts] == ["a.txt"]


def test_of_binary_files_both_stay():
    merged = merge({"a.bin": file(b"\0old")}, {"a.bin": file(b"\0mine")}, {"a.bin": file(b"\0new")})
    assert merged.files == {"a.bin": file(b"\0mine"), "a.bin.service-layer": file(b"\0new")}
    assert "a.bin.service-layer" in merged.conflicts[0].why


def test_the_templates_binary_file_takes_no_other_files_name():
    mine = {"a.bin": file(b"\0mine"), "a.bin.service-layer": file("mine too")}
    merged = merge({"a.bin": file(b"\0old")}, mine, {"a.bin": file(b"\0new")})
    assert merged.files == {**mine, "a.bin.service-layer.2": file(b"\0new")}


def test_a_symbolic_link_is_not_merged_with_a_text():
    link = (stat.S_IFLNK | 0o777, b"elsewhere.txt")
    merged = merge({"a.txt": file("old")}, {"a.txt": link}, {"a.txt": file("new")})
    assert merged.files == {"a.txt": link, "a.txt.service-layer": file("new")}


def test_the_line_ends_of_windows_are_kept_and_are_no_change():
    windows = LINES.replace("\n", "\r\n")
    merged = one(LINES, windows, LINES + "theirs\n")
    assert merged.files["a.txt"] == file(windows + "theirs\r\n")
    assert merged.conflicts == []


def test_a_missing_final_newline_is_kept():
    merged = one(LINES, LINES + "mine", "theirs\n" + LINES)
    assert merged.files["a.txt"] == file("theirs\n" + LINES + "mine")


def test_permissions_are_the_owners_unless_the_template_makes_it_executable():
    private, program = stat.S_IFREG | 0o600, stat.S_IFREG | 0o755
    base, ours = {"a.sh": file("old")}, {"a.sh": file("old", private)}
    assert merge(base, ours, {"a.sh": file("new")}).files["a.sh"] == file("new", private)
    merged = merge(base, ours, {"a.sh": file("new", program)})
    assert merged.files["a.sh"] == file("new", stat.S_IFREG | 0o711)


def test_a_change_of_the_template_follows_a_file_that_its_owner_renamed():
    merged = merge(
        {"a.txt": file(LINES)},
        {"mine.txt": file("mine\n" + LINES)},
        {"a.txt": file(LINES + "new\n")},
    )
    assert merged.files == {"mine.txt": file("mine\n" + LINES + "new\n")}
    assert merged.left_out == []


def test_a_file_is_not_taken_for_another_that_is_only_a_little_like_it():
    merged = merge(
        {"a.txt": file(LINES)}, {"b.txt": file("b\n" * 20)}, {"a.txt": file(LINES + "new\n")}
    )
    assert merged.files == {"b.txt": file("b\n" * 20)}
    assert merged.left_out == ["a.txt"]


def test_an_own_file_where_the_template_puts_one_is_a_conflict_too():
    merger = Merger(LABELS, lambda _: False)
    merger.merge({}, {}, {"a.txt": file("theirs\n")})
    merger.add("a.txt", file("mine\n"))
    merger.add("b.txt", file("alone\n"))
    result = merger.merge({}, {}, {})
    assert b"mine" in result.files["a.txt"][1]
    assert b"theirs" in result.files["a.txt"][1]
    assert result.files["b.txt"] == file("alone\n")
