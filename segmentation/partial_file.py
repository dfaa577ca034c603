"""The file that a download grows in: held against other runs, and put in place in one step."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .checkpoints import size_in_words

CHUNK = 1 << 20  # bytes
SPARE = 1 << 24  # bytes that must stay free on the disk


class DownloadError(OSError):
    """The file could not be fetched; one sentence names it, its folder and what went wrong."""


class PartialFile:
    """`NAME.part` beside the file `NAME` that is to come; opened, with its folder, where it is missing.

    While it is open no other run can open it. Leaving the context keeps what is in it; an empty one is removed.

    Raises:
        DownloadError: from every method, if the disk does not allow it; on entering, if another run holds it.
    """

    def __init__(self, target: Path):
        self.target = target
        self.path = target.with_name(f"{target.name}.part")

    def __enter__(self) -> "PartialFile":
        with self._disk():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("a+b", buffering=0)
        try:
            self._hold()
        except DownloadError:
            self.file.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        if not self.file.closed and self.length() == 0:
            with suppress(DownloadError):
                self.remove()
        self.file.close()

    def length(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def require_room(self, size: int) -> None:
        """Raise DownloadError unless the disk can take the rest of `size` bytes."""
        with self._disk():
            needed, free = size - self.length() + SPARE, shutil.disk_usage(self.target.parent).free
        if free < needed:
            raise DownloadError(
                f"{self.target.name} needs {size_in_words(needed)} more in {self.target.parent}, "
                f"but only {size_in_words(free)} are free there"
            )

    def cut(self, length: int) -> None:
        """Forget everything from that byte on."""
        with self._disk():
            self.file.truncate(length)

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with self._disk():
            while rest:
                rest = rest[self.file.write(rest) :]

    def sha256(self, on_step: Callable[[], None]) -> str:
        """Of all that is in it, in hexadecimal digits; `on_step` is called again and again and may raise to stop."""
        digest = hashlib.sha256()
        self.file.seek(0)
        while True:
            with self._disk():
                chunk = self.file.read(CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
            on_step()

    def put_in_place(self) -> None:
        """Make it the file that was to come."""
        with self._disk():
            os.fsync(self.file.fileno())  # its size alone will say that it is whole
            self._let_go_on_windows()
            self.path.replace(self.target)

    def remove(self) -> None:
        with self._disk():
            self._let_go_on_windows()
            self.path.unlink(missing_ok=True)

    def _let_go_on_windows(self) -> None:
        # Windows moves and removes no open file. Elsewhere it stays held until its name is gone, so that no other run
        # can take hold of it in between.
        if os.name == "nt":
            self.file.close()

    def _hold(self) -> None:
        """Lock it until it is closed, or raise DownloadError if another run has."""
        try:
            if os.name == "nt":
                import msvcrt

                self.file.seek(0)  # the byte that is locked is the one at the current place
                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise self._busy() from error
        except OSError:
            pass  # not every network drive knows locks; the checksum still guards the file
        try:
            moved = not os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except FileNotFoundError:
            moved = True
        if moved:  # the run that held it has just put it in place
            raise self._busy()

    def _busy(self) -> DownloadError:
        return DownloadError(
            f"{self.target.name} is being fetched into {self.target.parent} by another run; wait until it is done"
        )

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DownloadError(
                    f"{self.target.name} does not fit into {self.target.parent}: the disk is full; "
                    "what has arrived is kept, so make room and try again"
                ) from error
            raise DownloadError(
                f"{self.target.name} cannot be written into {self.target.parent} ({error.strerror or error})"
            ) from error
