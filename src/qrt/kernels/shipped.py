"""Object code that came with the package: a first start takes it in place of compiling.

`data/objects` has an archive for some tiers, whose members are entries of the cache. Its name has a
key, as the cache's directory, but of less: this package's source, the tier and the system. It can
do without the rest. Of the CPU, because a tier is compiled for features of its own, whatever the
machine, and chosen only where the CPU has them. Of numba and llvmlite, because kernels call nothing
but addresses that they are given, by the convention that `tape` and `team` state, and no compiler
may change what their arithmetic gives: operations on floats are in order and nowhere relaxed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection
from io import BytesIO
from pathlib import Path

from qrt.kernels.entries import source_digest, unpacked
from qrt.kernels.isa import Tier

FOLDER = Path(__file__).parents[1] / "data" / "objects"


def archive_name(tier: Tier, system: str = sys.platform) -> str:
    """The name of the archive of `tier`'s objects for this source and a system."""
    digest = hashlib.sha256(source_digest())
    digest.update("\n".join([tier.machine, tier.name, system]).encode())
    return f"{tier.name}-{digest.hexdigest()[:20]}.tar.xz"


def shipped_entries(tier: Tier, names: Collection[str]) -> dict[str, tuple[str, bytes]]:
    """(symbol, code) of those of `names` that came with the package, none where it is damaged."""
    path = FOLDER / archive_name(tier)
    if not path.is_file():
        return {}
    try:
        import lzma
        import tarfile
    except ImportError:  # a Python that was built without
        return {}
    found = {}
    try:
        with tarfile.open(fileobj=BytesIO(lzma.decompress(path.read_bytes()))) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in names else None
                entry = unpacked(file.read()) if file else None
                if entry:
                    found[member.name] = entry
    except (OSError, lzma.LZMAError, tarfile.TarError):
        return {}
    return found
