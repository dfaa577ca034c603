"""Fetching a file of the catalogue: resumed where it was cut off, and put in place only when it is whole."""

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .checkpoints import Checkpoint, sources
from .partial_file import DownloadError, PartialFile

__all__ = ["DownloadError", "fetch"]

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20  # bytes
TRIES = 5  # connections to one source; there is another one only if the last has brought something

OnProgress = Callable[[int, int], None]


class _SourceError(Exception):
    """This source does not give the file."""


class _CutError(Exception):
    """The connection could not be made, or ended before the file did."""


def fetch(checkpoint: Checkpoint, folder: Path, on_progress: OnProgress | None = None) -> Path:
    """Fetch the file into the folder, unless one of its name and size lies there.

    What has arrived is kept in `NAME.part` until the file is whole, so that a later call goes on where this one
    ended, for whatever reason. Proxies are those that the usual environment variables name.

    Args:
        checkpoint: what to fetch.
        folder: made if it is missing.
        on_progress: called with the bytes that are there and those that belong, also while the file is checked at the
            end; may raise to stop.

    Returns:
        The file; its size, and its SHA-256 if it was fetched now, are the catalogue's.

    Raises:
        DownloadError: if no source gives the right file, it cannot be written, or another run is fetching it.
    """
    target = folder / checkpoint.name
    if _is_there(target, checkpoint):
        return target
    with PartialFile(target) as part:
        if _is_there(target, checkpoint):  # another run has ended in the meantime
            part.remove()
        else:
            part.require_room(checkpoint.size)
            _fill(part, checkpoint, on_progress or (lambda done, total: None))
            part.put_in_place()
    return target


def _is_there(target: Path, checkpoint: Checkpoint) -> bool:
    return target.is_file() and target.stat().st_size == checkpoint.size


def _fill(part: PartialFile, checkpoint: Checkpoint, report: OnProgress) -> None:
    """Make the partial file whole from the first source that can, or raise DownloadError."""
    reasons = []
    for url in sources(checkpoint):
        try:
            return _fill_from(url, part, checkpoint, report)
        except _SourceError as error:
            reasons.append(f"{url}: {error}")
    raise DownloadError(
        f"{checkpoint.name} could not be fetched into {part.target.parent} ({'; '.join(reasons)}); "
        "try again later, or put the file there by hand"
    )


def _fill_from(url: str, part: PartialFile, checkpoint: Checkpoint, report: OnProgress) -> None:
    while True:
        resumed = part.length() > 0
        _complete(url, part, checkpoint.size, report)
        digest = part.sha256(lambda: report(checkpoint.size, checkpoint.size))
        if digest == checkpoint.sha256:
            return
        part.cut(0)
        if not resumed:  # else its beginning may have been another source's
            raise _SourceError(f"another file lies there, of the SHA-256 {digest}")


def _complete(url: str, part: PartialFile, size: int, report: OnProgress) -> None:
    """Append what is missing, with as many connections as it takes."""
    report(part.length(), size)
    tries = 0
    while (before := part.length()) < size:
        try:
            _receive(url, part, size, report)
        except _CutError as error:
            tries += 1
            if part.length() <= before or tries == TRIES:
                raise _SourceError(str(error)) from error


def _receive(url: str, part: PartialFile, size: int, report: OnProgress) -> None:
    """Append what one connection brings."""
    answer, done = _request(url, part.length(), size)
    with answer:
        part.cut(done)
        while chunk := _read(answer):
            done += len(chunk)
            if done > size:
                part.cut(0)
                raise _SourceError(f"the file there has more than the {size} bytes that belong")
            part.append(chunk)
            report(done, size)
        if done < size and answer.chunked:  # whose end says that there is no more
            part.cut(0)
            raise _SourceError(f"the file there has {done} bytes where {size} belong")
    if done < size:
        raise _CutError(f"the connection ended after {done} of {size} bytes")


def _request(url: str, start: int, size: int) -> tuple[http.client.HTTPResponse, int]:
    """The server's answer, and the place in the file at which it begins: `start`, or 0 if it knows no ranges."""
    _require_http(url)
    headers = {"User-Agent": "ComfyUI-DeepBlend", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310, only http and https come here
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _request(url, 0, size)
        raise _SourceError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _CutError(_reason(error)) from error
    try:
        return answer, _begin(answer, start, size)
    except _SourceError:
        answer.close()
        raise


def _begin(answer: http.client.HTTPResponse, start: int, size: int) -> int:
    begin, total = 0, answer.headers.get("Content-Length", "")
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if not part or int(part[1]) != start:
            raise _SourceError("it sends another part of the file than it was asked for")
        begin, total = start, part[2]
    if total.isdecimal() and int(total) != size:
        raise _SourceError(f"the file there has {total} bytes where {size} belong")
    return begin


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(CHUNK)  # what there is by now, so that a slow connection can be cancelled too
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _CutError(_reason(error)) from error


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__


def _require_http(url: str) -> str:
    """The scheme of an address: "http" or "https"."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise _SourceError(f"{url} is no http or https address")
    return scheme


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but to no other kind of address and out of no encrypted connection."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if _require_http(newurl) == "http" and req.type == "https":
            raise _SourceError(f"it redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
