"""Units that run `qrt serve` as a service of systemd or launchd, for a person to install."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from qrt.errors import InputError

_LABEL = "qrt.serve"
_STOP_S = 45
"""How long a service may take to end: what `--drain` gives its answers, and a little more."""


def print_unit(kind: str) -> None:
    """Writes the unit of a kind on standard output, and what to do with it on standard error.

    Raises InputError for a kind that there is not.
    """
    if kind not in _KINDS:
        raise InputError(f"--install-service: expected {' or '.join(_KINDS)}, got {kind!r}")
    write, steps = _KINDS[kind]
    print(write(_command(sys.argv)), end="")
    print("\n".join(steps), file=sys.stderr)


def _command(argv: Sequence[str]) -> list[str]:
    """This command line, as a service runs it: by the absolute path of this Python, without the
    flag that asked for the unit.
    """
    command = [os.path.abspath(sys.executable), "-m", "qrt"]
    rest = iter(argv[1:])
    for word in rest:
        if word == "--install-service":
            next(rest, None)
        elif not word.startswith("--install-service="):
            command.append(word)
    return command


def _systemd(command: Sequence[str]) -> str:
    """A unit of a user's own systemd. It ends a server as SIGTERM does, and waits for its answers.

    What a server need not do, it may not: writing outside of its folders, and gaining rights.
    """
    quoted = " ".join(_for_systemd(word) for word in command)
    return f"""\
[Unit]
Description=qrt serve: language models over HTTP
After=network.target

[Service]
ExecStart={quoted}
Restart=on-failure
RestartSec=2
KillSignal=SIGTERM
TimeoutStopSec={_STOP_S}
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=full
ProtectKernelTunables=true
ProtectControlGroups=true
RestrictSUIDSGID=true
LockPersonality=true
UMask=0077

[Install]
WantedBy=default.target
"""


def _for_systemd(word: str) -> str:
    """A word of a command line as systemd reads it."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return safe if safe and shlex.quote(word) == word else f'"{safe}"'


def _launchd(command: Sequence[str]) -> str:
    """A property list of a user's own agent."""
    words = "\n".join(f"    <string>{escape(word)}</string>" for word in command)
    log = escape(str(Path.home() / "Library" / "Logs" / "qrt-serve.log"))
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>{_LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{words}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ExitTimeOut</key>
  <integer>{_STOP_S}</integer>
  <key>StandardErrorPath</key>
  <string>{log}</string>
</dict>
</plist>
"""


_KINDS: Mapping[str, tuple[Callable[[Sequence[str]], str], tuple[str, ...]]] = {
    "systemd": (
        _systemd,
        (
            "save this as ~/.config/systemd/user/qrt.service, then:",
            "  systemctl --user daemon-reload && systemctl --user enable --now qrt",
            "  journalctl --user -u qrt      what it says",
            "  loginctl enable-linger        it runs while nobody is logged in, too",
        ),
    ),
    "launchd": (
        _launchd,
        (
            f"save this as ~/Library/LaunchAgents/{_LABEL}.plist, then:",
            f"  launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{_LABEL}.plist",
            f"  launchctl bootout gui/$(id -u)/{_LABEL}      ends it",
        ),
    ),
}
"""What writes the unit of each kind, and what to do with it."""
