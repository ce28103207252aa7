r"""A file in memory, as merging sees it: a mode and bytes, which may be a text.

Two settings of a machine are no change of a file: git may write the line ends of Windows, and its
owner decides who may read it. So both are the owner's in what is merged::

    base        | ours         | theirs      | result
    ------------+--------------+-------------+-------------
    0644 a\n    | 0600 a\r\n   | 0644 b\n    | 0600 b\r\n
    0644 a\n    | 0600 a\n     | 0755 a\n    | 0711 a\n
"""

from __future__ import annotations

import stat

# The mode, and the content; of a symbolic link, where it leads to.
File = tuple[int, bytes]


def as_text(file: File) -> str | None:
    """Return a file's text; None for a symbolic link and for what is not UTF-8 text."""
    mode, content = file
    if stat.S_ISLNK(mode) or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def same(one: File | None, other: File | None) -> bool:
    """Return whether two files are of one kind and have one content but for line ends."""
    if one is None or other is None:
        return one is other
    if stat.S_ISLNK(one[0]) != stat.S_ISLNK(other[0]):
        return False
    return one[1] == other[1] or with_line_ends(one, other) == (one[0], other[1])


def with_line_ends(file: File, like: File | None) -> File:
    """Return a text with the line ends of Windows if the owner's has them."""
    if like is None or b"\r\n" in file[1] or b"\r\n" not in like[1]:
        return file
    if as_text(file) is None or as_text(like) is None:
        return file
    return file[0], file[1].replace(b"\n", b"\r\n")


def with_mode(file: File, base: File | None, ours: File | None) -> File:
    """Return a file of the template with its owner's permissions.

    Being executable is the template's to say if that changed, else the owner's.
    """
    if ours is None or stat.S_ISLNK(file[0]) or stat.S_ISLNK(ours[0]):
        return file
    mode = ours[0]
    if base is not None and (file[0] ^ base[0]) & stat.S_IXUSR:
        mode = mode | 0o111 if file[0] & stat.S_IXUSR else mode & ~0o111
    return mode, file[1]
