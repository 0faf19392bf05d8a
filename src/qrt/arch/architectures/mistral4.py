"""mistral4: Mistral Small 4, its text side."""

from __future__ import annotations

from qrt.arch.architectures import deepseek2


class Architecture(deepseek2.Architecture):
    """Mistral AI 2026: DeepSeek's attention and experts; YaRN's attention factor is in rope too."""

    mscale_cancels = False
