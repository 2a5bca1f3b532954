"""Files of a run: nothing follows a link, only regular files are opened, and reads are limited."""

import os
import socket
import stat

import pytest
import yaml
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from oneshot.errors import InputError
from oneshot.runs import files


def link_to_file(path, outside):
    path.symlink_to(outside / "file")


def link_to_folder(path, outside):
    path.symlink_to(outside)


def dangling(path, outside):
    path.symlink_to(outside / "new")


def itself(path, outside):
    path.symlink_to(path)


def device(path, outside):
    path.symlink_to("/dev/zero")


def pipe(path, outside):
    os.mkfifo(path)


def a_socket(path, outside):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def folder(path, outside):
    path.mkdir()


LINKS = (link_to_file, link_to_folder, dangling, itself, device)
PLANTED = (*LINKS, pipe, a_socket, folder)
CALLS = {
    "read_bytes": lambda path: files.read_bytes(path),
    "append": lambda path: files.append(path, "text"),
    "truncate": lambda path: files.truncate(path, 0),
    "write_bytes": lambda path: files.write_bytes(path, b"text"),
    "rename": lambda path: files.rename(path, "other"),
    "rename to it": lambda path: files.rename(path.with_name("plain"), path.name),
    "remove": lambda path: files.remove(path),
    "open_lock": lambda path: files.open_lock(path),
    "opened": lambda path: files.opened(path).__enter__(),
}


@pytest.fixture
def outside(tmp_path):
    """What must not change: a folder outside that of the run."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "file").write_text("precious")
    return path


def state(path):
    return {p.name: (p.lstat().st_mode, p.read_bytes() if p.is_file() else b"") for p in sorted(path.rglob("*"))}


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("name", CALLS)
def test_only_regular_files_are_used(tmp_path, outside, plant, name):
    run = tmp_path / "run"
    run.mkdir()
    (run / "plain").write_text("plain")
    plant(run / "it", outside)
    before, mode = state(outside), (run / "it").lstat().st_mode
    with pytest.raises(InputError, match=r"run/it: is a(n)? (link|named pipe|socket|folder|device)"):
        CALLS[name](run / "it")
    assert state(outside) == before and (run / "it").lstat().st_mode == mode
    assert (run / "plain").read_text() == "plain" and len(list(run.iterdir())) == 2


@pytest.mark.parametrize("plant", [link_to_folder, dangling, itself, pipe])
@pytest.mark.parametrize("name", CALLS)
def test_no_folder_in_between_is_a_link(tmp_path, outside, plant, name):
    run = tmp_path / "run"
    run.mkdir()
    plant(run / "between", outside)
    calls = {
        "read_bytes": lambda path, root: files.read_bytes(path, root=root),
        "append": lambda path, root: files.append(path, "text", root),
        "truncate": lambda path, root: files.truncate(path, 0, root),
        "write_bytes": lambda path, root: files.write_bytes(path, b"text", root),
        "rename": lambda path, root: files.rename(path, "other", root),
        "remove": lambda path, root: files.remove(path, root),
        "opened": lambda path, root: files.opened(path, root=root).__enter__(),
    }
    if name not in calls:
        name = "read_bytes"
    before = state(outside)
    with pytest.raises(InputError, match="run/between: is a (link|named pipe)"):
        calls[name](run / "between" / "file", run)
    with pytest.raises(InputError, match="run/between: is a (link|named pipe)"):
        files.make_folder(run / "between")
    with pytest.raises(InputError, match="run/between: is a (link|named pipe)"):
        files.fresh_folder(run / "between")
    with pytest.raises(InputError, match="run/between: is a (link|named pipe)"):
        files.names(run / "between", root=run)
    with pytest.raises(InputError, match="run/between: is a (link|named pipe)"):
        files.check_folder(run)
    assert state(outside) == before


def test_links_above_a_run_are_followed(tmp_path, outside):
    (tmp_path / "outputs").symlink_to(outside)
    path = files.new_folder(tmp_path / "outputs" / "run")
    files.append(path / "rows", "1\n")
    files.append(path / "rows", "2\n")
    files.write_text(path / "text", "old")
    files.write_text(path / "text", "new")
    assert files.read_text(path / "rows") == "1\n2\n" and files.read_text(path / "text") == "new"
    files.truncate(path / "rows", 2)
    files.rename(path / "text", "other")
    assert (outside / "run" / "rows").read_text() == "1\n" and files.names(path) == ["other", "rows"]
    files.remove(path / "rows")
    files.remove(path / "rows")
    assert files.names(path) == ["other"] and files.names(tmp_path / "none") == []


def test_a_folder_that_is_replaced_in_the_middle_changes_nothing_outside(tmp_path, outside, monkeypatch):
    """Another process replaces the folder between two steps of a write."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    fsync = os.fsync

    def swap(descriptor):
        fsync(descriptor)
        (run / "checkpoints").rename(run / "moved")
        (run / "checkpoints").symlink_to(outside)

    monkeypatch.setattr(os, "fsync", swap)
    before = state(outside)
    files.write_bytes(run / "checkpoints" / "file", b"new", root=run)
    assert state(outside) == before and (run / "moved" / "file").read_bytes() == b"new"


def test_a_file_with_two_names_is_not_changed_in_place(tmp_path, outside):
    os.link(outside / "file", tmp_path / "rows")
    for call in (lambda: files.append(tmp_path / "rows", "x"), lambda: files.truncate(tmp_path / "rows", 0)):
        with pytest.raises(InputError, match="rows: has another name elsewhere"):
            call()
    files.write_text(tmp_path / "rows", "new")  # a new file under this name
    assert (outside / "file").read_text() == "precious"


def test_reads_are_limited(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(30 << 30)
    with pytest.raises(InputError, match=f"sparse: {30 << 30} bytes; at most {files.MAX_BYTES} are read"):
        files.read_bytes(path)
    with pytest.raises(InputError, match="at most 10 are read"), files.given(path, 10):
        pass


def test_files_that_a_user_names_may_be_links_but_nothing_else(tmp_path, outside):
    (tmp_path / "link").symlink_to(outside / "file")
    assert files.read_given(tmp_path / "link") == "precious"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    wrong = {
        "pipe": "is a named pipe, and not a file",
        "zero": "is a device, and not a file",
        "outside": "is a folder, and not a file",
        "none": r"cannot be read \(No such file or directory\)",
        "binary": "not a text file",
        "nu\0ll": "no path holds a null character",
        "x" * 300: "File name too long",
    }
    for name, message in wrong.items():
        with pytest.raises(InputError, match=message):
            files.read_given(tmp_path / name)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    files.write_text(tmp_path / "it", "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(tmp_path / "it", "new")
    assert caught.value.filename == str(tmp_path / "it") and files.is_full_disk(caught.value)
    assert files.names(tmp_path) == ["it"] and (tmp_path / "it").read_text() == "old"


def test_temporary_files_are_removed_and_links_with_such_names_are_not_followed(tmp_path, outside):
    run = tmp_path / "run"
    (run / "below").mkdir(parents=True)
    (run / "below" / ".a.1.tmp").write_text("left")
    (run / ".b.1.tmp").symlink_to(outside / "file")
    (run / "link").symlink_to(outside)
    (outside / ".c.1.tmp").write_text("not ours")
    files.remove_temporary(run)
    assert not (run / "below" / ".a.1.tmp").exists() and (outside / ".c.1.tmp").exists()
    assert (outside / "file").read_text() == "precious"


def test_what_a_library_links_in_its_own_folder_is_left_alone(tmp_path, outside):
    wandb = files.fresh_folder(tmp_path / "wandb")
    (wandb / "latest-run").symlink_to(outside)
    files.check_folder(tmp_path)
    assert files.fresh_folder(tmp_path / "wandb").name == "2"
    files.remove_folder(wandb)
    assert (outside / "file").read_text() == "precious" and not wandb.exists()
    (tmp_path / "wandb").rename(tmp_path / "moved")
    (tmp_path / "wandb").symlink_to(outside)
    with pytest.raises(InputError, match="wandb: is a link"):
        files.check_folder(tmp_path)


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_in_the_place_of_a_folder_is_removed_without_opening_it(tmp_path, outside, plant):
    """rmtree opens a named pipe, and waits for its other end."""
    plant(tmp_path / "it", outside)
    before = state(outside)
    files.remove_folder(tmp_path / "it")
    assert not os.path.lexists(tmp_path / "it") and state(outside) == before
    files.remove_folder(tmp_path / "it")


@pytest.mark.parametrize("name", [*CALLS, "names", "make_folder", "fresh_folder"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, name):
    (tmp_path / "between").write_text("a file")
    calls = {
        "names": lambda path: files.names(path.parent, tmp_path),
        "make_folder": lambda path: files.make_folder(path.parent),
        "fresh_folder": lambda path: files.fresh_folder(path.parent),
        "read_bytes": lambda path: files.read_bytes(path, root=tmp_path),
        "append": lambda path: files.append(path, "text", tmp_path),
        "truncate": lambda path: files.truncate(path, 0, tmp_path),
        "write_bytes": lambda path: files.write_bytes(path, b"text", tmp_path),
        "rename": lambda path: files.rename(path, "other", tmp_path),
        "remove": lambda path: files.remove(path, tmp_path),
        "opened": lambda path: files.opened(path, root=tmp_path).__enter__(),
    }
    with pytest.raises(InputError, match="between: is a file, and must be a folder"):
        calls.get(name, calls["names"])(tmp_path / "between" / "file")
    assert (tmp_path / "between").read_text() == "a file"


@pytest.mark.parametrize("plant", [dangling, itself, link_to_file, pipe])
def test_a_new_folder_is_not_made_in_the_place_of_something_else(tmp_path, outside, plant):
    plant(tmp_path / "it", outside)
    before = state(outside)
    with pytest.raises(InputError, match="it: exists; name a new folder"):
        files.new_folder(tmp_path / "it")
    assert state(outside) == before


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000, '"\\ud800"', '{"\\udfff": 1}', "{", '{"a": NaN'])
def test_json_that_cannot_be_used_is_one_error(text):
    with pytest.raises(ValueError):
        files.parse_json(text)


@pytest.mark.parametrize(
    "text",
    ["1" * 5000, "-" + "1" * 400, "[" * 5000, '"\\ud800"', "a: &a [x]\nb: *a", "!!python/name:os.system x", "\0"],
)
def test_yaml_that_cannot_be_used_is_one_error(text):
    with pytest.raises(ValueError):
        files.parse_yaml(text)


def test_yaml_reads_no_numbers_in_base_60():
    text = "a: " + ":".join(["59"] * 2000) + "\nb: 1:30\nc: 1_000\nd: 0x10\ne: 1e3\nf: 1.5\ng: .inf\n"
    found = files.parse_yaml(text)
    assert found["b"] == "1:30" and found["a"].startswith("59:59")
    assert {key: found[key] for key in "cdefg"} == {k: yaml.safe_load(text.split("\n", 2)[2])[k] for k in "cdefg"}


@settings(max_examples=300, deadline=2000)
@examples(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused_with_a_value_error(content):
    for parse in (files.parse_json, lambda content: files.parse_yaml(content.decode())):
        try:
            repr(parse(content)).encode("utf-8", "backslashreplace")
        except ValueError:
            pass


def test_kinds_have_names():
    names = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}
    assert {mode: files.kind_of(mode) for mode in names} == names
