"""Copies of recordings: Retell's addresses expire after ten minutes or a day; the copies stay.

They go to RECORDINGS_URL, a folder or an S3-compatible store, by fsspec.
"""

import asyncio
import hashlib
import re
import tempfile
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import fsspec.core
import httpx

DOWNLOAD_SECONDS = 30.0
"""The time that the download may stand still."""
IN_MEMORY_BYTES = 8_000_000
"""A longer recording goes through a temporary file."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


class RecordingNotCopied(Exception):
    """The recording could not be fetched or stored this time."""


class RecordingGone(RecordingNotCopied):
    """The address is refused (4xx): it has expired, or never was one."""


class RecordingStore:
    """The store of copies. Close it at the end.

    Args:
        url: the folder, as fsspec writes it.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.AsyncClient(timeout=DOWNLOAD_SECONDS, follow_redirects=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def copy(self, call_id: str, source_url: str) -> str:
        """Copy one recording; returns where it is now. Copying it again replaces the copy.

        Raises:
            RecordingGone: only another address can help.
            RecordingNotCopied: another try may; it says what went wrong, without the address.
        """
        target = f"{self._url}/{_file_name(call_id, source_url)}"
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            try:
                async with self._http.stream("GET", source_url) as answer:
                    answer.raise_for_status()
                    async for part in answer.aiter_bytes():
                        file.write(part)
                file.seek(0)
                await asyncio.to_thread(_store, file, target)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                kind = RecordingGone if status < 500 else RecordingNotCopied
                raise kind(f"its address answers {status}") from None
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise RecordingNotCopied(type(error).__name__) from error
        return target


def _store(file: IO[bytes], target: str) -> None:
    filesystem, path = fsspec.core.url_to_fs(target)
    filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    with filesystem.open(path, "wb") as copy:
        while part := file.read(1 << 20):
            copy.write(part)


def _file_name(call_id: str, source_url: str) -> str:
    # The id comes from outside: what is no plain word must not become a path.
    plain = call_id if _PLAIN.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()
    suffix = PurePosixPath(urlsplit(source_url).path).suffix.lower()
    return f"{plain}{suffix if _SUFFIX.fullmatch(suffix) else '.wav'}"
