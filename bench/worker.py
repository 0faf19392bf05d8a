"""A peer in a process of its own, under the interpreter that has it: JSON lines there and back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Worker:
    """Runs a script of this folder that answers each line of JSON by one."""

    def __init__(self, python: str, script: str) -> None:
        self._script = script
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """What it answers to an operation."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._script} died; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
