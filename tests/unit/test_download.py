import errno
import hashlib
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepblend.segmentation import download, partial_file
from deepblend.segmentation.checkpoints import Checkpoint
from deepblend.segmentation.download import DownloadError, fetch
from file_server import file_server

CONTENT = hashlib.shake_256(b"weights").digest(300_000)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


@pytest.fixture
def server():
    with file_server() as running:
        running.files["/weights.pth"] = CONTENT
        yield running


@pytest.fixture
def mirror():
    with file_server() as running:
        running.files["/weights.pth"] = CONTENT
        yield running


def checkpoint(*urls, content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    return Checkpoint("weights.pth", ("sams",), "tests", "none stated", len(content), digest, urls)


def at(*servers):
    return checkpoint(*(f"{server.url}/weights.pth" for server in servers))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Cancelled(BaseException):
    """Not an Exception, as ComfyUI's interrupt may not be one."""


def cancel_at(count):
    def on_progress(done, _total):
        if done >= count:
            raise Cancelled

    return on_progress


def test_a_file_is_fetched_into_a_folder_that_is_made_for_it(server, tmp_path):
    folder, seen = tmp_path / "models" / "sams", []
    path = fetch(at(server), folder, lambda *progress: seen.append(progress))
    assert path == folder / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert names(folder) == ["weights.pth"]
    assert server.requests == [("/weights.pth", None)]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_file_of_the_right_size_is_taken_without_a_request(server, tmp_path):
    (tmp_path / "weights.pth").write_bytes(bytes(len(CONTENT)))
    assert fetch(at(server), tmp_path) == tmp_path / "weights.pth"
    assert server.requests == []


def test_a_file_of_another_size_is_replaced(server, tmp_path):
    (tmp_path / "weights.pth").write_bytes(CONTENT[:-1])
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_within_one_call(server, tmp_path):
    server.cuts["/weights.pth"] = [100_000, 50_000]
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(CONTENT)


def test_a_source_that_brings_nothing_more_is_given_up_and_the_next_one_goes_on(server, mirror, tmp_path):
    server.cuts["/weights.pth"] = [100_000, 0, 0, 0]
    assert fetch(at(server, mirror), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2
    assert mirror.requests == [("/weights.pth", "bytes=100000-")]


def test_a_source_that_brings_little_each_time_is_given_up_after_a_few_tries(server, tmp_path):
    server.cuts["/weights.pth"] = [10] * 100
    with pytest.raises(DownloadError, match=r"the connection ended after 50 of 300000 bytes"):
        fetch(at(server), tmp_path)
    assert len(server.requests) == download.TRIES
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:50]


def test_what_was_left_by_an_earlier_call_is_resumed(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:299_000])
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.sent == 1000
    assert names(tmp_path) == ["weights.pth"]


def test_a_whole_partial_file_needs_no_request(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_server_that_knows_no_ranges_is_asked_for_everything(server, tmp_path):
    server.knows_ranges = False
    server.cuts["/weights.pth"] = [100_000]
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.sent == 100_000 + len(CONTENT)


@pytest.mark.parametrize("left", [b"of another file" * 100, bytes(len(CONTENT)), bytes(len(CONTENT) + 1)])
def test_a_partial_file_that_is_another_files_is_started_over_once(server, tmp_path, left):
    (tmp_path / "weights.pth.part").write_bytes(left)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/weights.pth", None)
    assert len(server.requests) <= 2


def test_a_range_beyond_the_servers_file_starts_over(server, tmp_path):
    """Its file is shorter than it should be; the answer 416 is not taken for the end."""
    server.files["/weights.pth"] = CONTENT[:1000]
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:2000])
    with pytest.raises(DownloadError, match=r"the file there has 1000 bytes where 300000 belong"):
        fetch(at(server), tmp_path)
    assert [wanted for _, wanted in server.requests] == ["bytes=2000-", None]


def test_an_answer_with_another_range_is_refused(server, tmp_path, monkeypatch):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    handler = server.RequestHandlerClass
    send_header = handler.send_header
    monkeypatch.setattr(
        handler,
        "send_header",
        lambda self, name, value: send_header(self, name, value.replace("bytes 1000", "bytes 999")),
    )
    with pytest.raises(DownloadError, match="another part of the file than it was asked for"):
        fetch(at(server), tmp_path)


def test_wrong_content_is_thrown_away_and_the_next_source_tried(server, mirror, tmp_path):
    server.files["/weights.pth"] = bytes(len(CONTENT))
    assert fetch(at(server, mirror), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert mirror.requests == [("/weights.pth", None)]


def test_wrong_content_alone_leaves_nothing(server, tmp_path):
    server.files["/weights.pth"] = bytes(len(CONTENT))
    digest = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    with pytest.raises(DownloadError, match=rf"another file lies there, of the SHA-256 {digest}"):
        fetch(at(server), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [(CONTENT + b"more", "the file there has .* bytes"), (CONTENT[:-7], "has 299993 bytes where 300000 belong")],
)
def test_a_file_of_the_wrong_size_is_refused(server, mirror, tmp_path, announced, content, sentence):
    server.files["/weights.pth"], server.announces_sizes = content, announced
    with pytest.raises(DownloadError, match=sentence):
        fetch(at(server), tmp_path)
    assert names(tmp_path) == []
    assert len(server.requests) == 1
    assert fetch(at(server, mirror), tmp_path).read_bytes() == CONTENT


def test_a_missing_file_sends_to_the_next_source(server, mirror, tmp_path):
    server.files.clear()
    assert fetch(at(server, mirror), tmp_path).read_bytes() == CONTENT


def test_when_all_fail_one_sentence_names_file_folder_and_every_reason(server, mirror, tmp_path):
    server.files.clear()
    mirror.files["/weights.pth"] = b"<html>please log in</html>"
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/weights.pth"
    with pytest.raises(DownloadError) as raised:
        fetch(checkpoint(f"{server.url}/weights.pth", f"{mirror.url}/weights.pth", nobody), tmp_path / "sams")
    sentence = str(raised.value)
    assert sentence.startswith(f"weights.pth could not be fetched into {tmp_path / 'sams'} (")
    assert f"{server.url}/weights.pth: HTTP 404 Not Found" in sentence
    assert f"{mirror.url}/weights.pth: the file there has 26 bytes where 300000 belong" in sentence
    assert f"{nobody}: " in sentence
    assert "refused" in sentence
    assert sentence.endswith("or put the file there by hand")
    assert "\n" not in sentence
    assert names(tmp_path / "sams") == []


def test_a_disk_without_room_is_found_before_the_first_request(server, tmp_path, monkeypatch):
    monkeypatch.setattr(partial_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(DownloadError, match=r"weights.pth needs .* MB more in .*, but only 0.1 MB are free there"):
        fetch(at(server), tmp_path)
    assert server.requests == []
    assert names(tmp_path) == []


def test_room_is_needed_only_for_what_is_missing(server, tmp_path, monkeypatch):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:-10])
    room = SimpleNamespace(free=10 + partial_file.SPARE)
    monkeypatch.setattr(partial_file.shutil, "disk_usage", lambda _: room)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT


class SmallDisk:
    """A file that takes so many bytes, and so many of them at a time."""

    def __init__(self, file, capacity, at_a_time):
        self.file, self.capacity, self.at_a_time = file, capacity, at_a_time

    def write(self, data):
        room = self.capacity - self.file.seek(0, os.SEEK_END)
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data[: min(room, self.at_a_time)])

    def __getattr__(self, name):
        return getattr(self.file, name)


def use_disk(monkeypatch, **limits):
    enter = partial_file.PartialFile.__enter__

    def enter_on_it(part):
        enter(part)
        part.file = SmallDisk(part.file, **limits)
        return part

    monkeypatch.setattr(partial_file.PartialFile, "__enter__", enter_on_it)


def test_a_disk_that_becomes_full_gets_a_sentence_and_the_next_call_goes_on(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        use_disk(patched, capacity=120_000, at_a_time=1 << 20)
        with pytest.raises(DownloadError, match=r"weights.pth does not fit into .*: the disk is full"):
            fetch(at(server), tmp_path)
    assert len(server.requests) == 1  # no other source would help
    assert names(tmp_path) == ["weights.pth.part"]
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/weights.pth", "bytes=120000-")


def test_a_disk_that_takes_less_than_it_is_given_is_given_the_rest(server, tmp_path, monkeypatch):
    use_disk(monkeypatch, capacity=1 << 30, at_a_time=1000)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_made_gets_a_sentence(server, tmp_path):
    (tmp_path / "sams").write_bytes(b"a file")
    with pytest.raises(DownloadError, match=r"weights.pth cannot be written into .*sams \("):
        fetch(at(server), tmp_path / "sams")


def test_cancelling_keeps_what_has_arrived_and_the_next_call_resumes(server, tmp_path):
    with pytest.raises(Cancelled):
        fetch(at(server), tmp_path, cancel_at(1))
    assert names(tmp_path) == ["weights.pth.part"]
    kept = (tmp_path / "weights.pth.part").read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT


def test_cancelling_half_way_costs_no_byte_twice(server, tmp_path):
    server.cuts["/weights.pth"] = [150_000]
    with pytest.raises(Cancelled):
        fetch(at(server), tmp_path, cancel_at(150_000))
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:150_000]
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.sent == len(CONTENT)


def test_cancelling_before_the_first_byte_leaves_nothing(server, tmp_path):
    with pytest.raises(Cancelled):
        fetch(at(server), tmp_path, cancel_at(0))
    assert names(tmp_path) == []
    assert server.requests == []


def test_errors_of_on_progress_are_not_taken_for_the_sources(server, tmp_path):
    def on_progress(done, _total):
        if done:
            raise ConnectionError("the browser is gone")

    with pytest.raises(ConnectionError, match="the browser is gone"):
        fetch(at(server), tmp_path, on_progress)
    assert len(server.requests) == 1


def test_a_second_run_at_the_same_time_is_refused_and_does_no_harm(server, tmp_path):
    started, go_on = threading.Event(), threading.Event()

    def on_progress(done, _total):
        if done:
            started.set()
            go_on.wait(10)

    first = threading.Thread(target=fetch, args=(at(server), tmp_path, on_progress))
    first.start()
    assert started.wait(10)
    with pytest.raises(DownloadError, match=r"weights.pth is being fetched into .* by another run"):
        fetch(at(server), tmp_path)
    go_on.set()
    first.join()
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_many_runs_at_once_end_with_the_right_file(server, tmp_path):
    def run():
        with suppress(DownloadError):
            fetch(at(server), tmp_path)

    runs = [threading.Thread(target=run) for _ in range(12)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert names(tmp_path) == ["weights.pth"]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_run_that_finds_the_file_in_place_after_waiting_takes_it(server, tmp_path, monkeypatch):
    """Another run ends between the look for the file and the opening of the partial one."""
    enter = partial_file.PartialFile.__enter__

    def enter_late(part):
        (tmp_path / "weights.pth").write_bytes(CONTENT)
        return enter(part)

    monkeypatch.setattr(partial_file.PartialFile, "__enter__", enter_late)
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == []
    assert names(tmp_path) == ["weights.pth"]


def test_a_partial_file_that_was_put_in_place_while_it_was_opened_is_not_written_to(server, tmp_path, monkeypatch):
    opened = Path.open

    def open_and_lose(path, *args, **kwargs):
        file = opened(path, *args, **kwargs)
        if path.suffix == ".part":
            path.replace(tmp_path / "weights.pth")
        return file

    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    monkeypatch.setattr(Path, "open", open_and_lose)
    with pytest.raises(DownloadError, match="by another run"):
        fetch(at(server), tmp_path)
    assert server.requests == []
    assert (tmp_path / "weights.pth").stat().st_size == 1000


def test_redirections_are_followed_and_keep_the_range(server, mirror, tmp_path):
    server.redirects["/weights.pth"] = f"{mirror.url}/weights.pth"
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    assert fetch(at(server), tmp_path).read_bytes() == CONTENT
    assert mirror.requests == [("/weights.pth", "bytes=1000-")]


@pytest.mark.parametrize("kind", ["file", "ftp", "data"])
def test_redirections_to_other_kinds_of_addresses_are_refused(server, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    place = {"file": secret.as_uri(), "ftp": "ftp://127.0.0.1:9/weights.pth", "data": "data:,weights"}[kind]
    server.redirects["/weights.pth"] = place
    with pytest.raises(DownloadError, match=r"/weights.pth: .*(not allowed|is no http or https address)"):
        fetch(at(server), tmp_path / "sams")


def test_an_encrypted_address_does_not_redirect_to_a_plain_one():
    request = SimpleNamespace(type="https")
    with pytest.raises(Exception, match=r"it redirects to http://127.0.0.1/, which is not encrypted"):
        download._Redirects().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1/")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/weights.pth", "weights.pth", ""])
def test_only_web_addresses_are_fetched(tmp_path, url):
    with pytest.raises(DownloadError, match="is no http or https address"):
        fetch(checkpoint(url), tmp_path)


def test_a_proxy_is_used_where_the_environment_names_one(server, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", mirror.url)
    mirror.files["http://weights.invalid/weights.pth"] = CONTENT
    assert fetch(checkpoint("http://weights.invalid/weights.pth"), tmp_path).read_bytes() == CONTENT
    assert mirror.requests == [("http://weights.invalid/weights.pth", None)]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(at(server), tmp_path / "direct")
    assert len(mirror.requests) == 1


def test_hugging_face_is_replaced_by_the_mirror_in_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/hub/")
    server.files["/hub/someone/model/resolve/main/weights.pth"] = CONTENT
    url = "https://huggingface.co/someone/model/resolve/main/weights.pth"
    assert fetch(checkpoint(url), tmp_path).read_bytes() == CONTENT
