"""trainer=ddp as a user types it: the processes start, agree and end together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import is_first_line
from helpers.support import alike

TINY = [
    "epochs=6",
    "space.cells=3",
    "space.channels=4",
    "space.nodes=1",
    "data.train_size=64",
    "data.batch_size=16",
    "log_every=1",
    "threads=1",
    "architect.optimizer.lr=3e-4",
]


def started(folder, *arguments):
    command = [sys.executable, "-m", "oneshot", "search", *TINY, "trainer=ddp", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def others(folder):
    """Processes whose working folder this is."""
    found = subprocess.run(["pgrep", "-f", f"out={folder}"], capture_output=True, text=True)
    return found.stdout.split()


def listening(process):
    """The addresses at which a process waits for connections."""
    sockets = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(descriptor))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:  # LISTEN
                raw = bytes.fromhex(local.partition(":")[0])
                yield socket.inet_ntop(socket.AF_INET if table == "tcp" else socket.AF_INET6, words(raw))


def words(raw):
    """An address whose words of four bytes are in this machine's order, in the network's."""
    order = slice(None, None, -1 if sys.byteorder == "little" else 1)
    return b"".join(raw[n : n + 4][order] for n in range(0, len(raw), 4))


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_stop_and_one_goes_on(run, tmp_path):
    out = tmp_path / "two"
    process = started(tmp_path, f"out={out}")
    while process.poll() is None and not ((out / "metrics.jsonl").is_file() and len(rows(out)) > 4):
        time.sleep(0.1)
    assert len(others(out)) == 2
    addresses = {address for one in others(out) for address in listening(one)}
    assert addresses == {"127.0.0.1"}
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert (process.returncode, error) == (143, f"stopped by SIGTERM; the same command continues {out}\n")
    assert others(out) == [] and json.loads((out / "status.json").read_text())["status"] == "interrupted"
    code, _, error = run("search", *TINY, "trainer=ddp", "trainer.devices=1", f"out={out}")
    assert (code, error) == (0, "")
    code, _, error = run("search", *TINY, "trainer=cpu", "out=one")
    assert (code, error) == (0, "")
    one, two = tmp_path / "one", out
    assert (one / "architecture.json").read_bytes() == (two / "architecture.json").read_bytes()
    for a, b in zip(rows(one), rows(two), strict=True):
        assert alike(a, b), (a, b)


def test_a_run_that_diverges_ends_all(tmp_path):
    out = tmp_path / "run"
    process = started(tmp_path, f"out={out}", "weights.optimizer.lr=1e30", "weights.gradient_clip=0")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 3 and error.startswith("error: update ") and error.count("\n") == 1
    assert others(out) == []


def test_a_process_that_is_lost_ends_all(tmp_path):
    out = tmp_path / "run"
    process = started(tmp_path, f"out={out}", "epochs=1000")
    while process.poll() is None and not ((out / "metrics.jsonl").is_file() and len(rows(out)) > 4):
        time.sleep(0.1)
    (other,) = set(others(out)) - {str(process.pid)}
    subprocess.run(["kill", "-9", other], check=True)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1 and error.endswith(
        "error: process 1 was ended by SIGKILL; the same command continues\n"
    )
    assert others(out) == []


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("baseline", ["trainer=ddp"], "trainer=ddp: is for `oneshot search` and `oneshot retrain`"),
        ("search", ["trainer=cpu", "trainer.devices=2"], "trainer.devices=2: several processes need trainer=ddp"),
        ("search", ["trainer=ddp", "trainer.compile=true"], "trainer.compile=true: cannot be had with trainer=ddp"),
        (
            "search",
            ["trainer=ddp", "trainer.devices=3", "data.batch_size=2"],
            "data.batch_size=2: must be at least the number of processes, 3",
        ),
        ("search", ["trainer=ddp", "trainer.num_nodes=2"], "trainer.num_nodes=2: several nodes need torchrun or srun"),
    ],
)
def test_what_processes_cannot_do(run, tmp_path, command, arguments, message):
    code, out, error = run(command, *arguments)
    assert (
        code == 2 and is_first_line(command, out) and error.startswith(f"error: {message}") and error.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []
