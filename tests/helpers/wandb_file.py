"""Reads the file that W&B writes offline, as its server would: LevelDB's log format, a protobuf record each."""

import json
import struct
import time
import zlib
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> list[Record]:
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    found, part, at = [], b"", HEADER
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # padding
            at += BLOCK - at % BLOCK
            continue
        checksum, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        data = content[at + HEADER : at + HEADER + length]
        assert len(data) == length and checksum == zlib.crc32(data, zlib.crc32(bytes([kind]))), at
        part = data if kind in (FULL, FIRST) else part + data
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(part)
            found.append(record)
        at += HEADER + length
    return found


class Offline:
    """What one offline run holds."""

    def __init__(self, path: Path) -> None:
        (self.path,) = path.rglob("offline-run-*/run-*.wandb")
        self.rows, self.summary, self.artifacts, self.metrics, self.exit_code = [], {}, {}, {}, None
        for record in _finished(self.path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.rows.append(_nested(record.history.item))
            elif kind == "summary":
                self.summary |= _nested(record.summary.update)
            elif kind == "artifact":
                self.artifacts[record.artifact.name] = record.artifact
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric
            elif kind == "exit":
                self.exit_code = record.exit.exit_code
            elif kind == "run":
                self.run = record.run
                self.config = {item.key: json.loads(item.value_json) for item in record.run.config.update}


def _finished(path: Path) -> list[Record]:
    """All records, once the last one is there: W&B's own process writes them."""
    deadline = time.monotonic() + 30
    while True:
        try:
            found = records(path)
        except AssertionError:
            found = []
        if any(record.WhichOneof("record_type") == "exit" for record in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _nested(items) -> dict:
    """What stands at each path of names."""
    found: dict = {}
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = found
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = json.loads(item.value_json)
    return found
