"""Random texts that try a tokenizer's rules: scripts, white space, digits, marks, pieces."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

LOOK_ALIKES = (
    *("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "</s>", "<s>", "<unk>", "<pad>"),
    *(
        "<0x0A>",
        "<0x41>",
        "<0x0a>",
        "<|x",
        "<|x|>",
        "|>",
        "<|",
        "<",
        "</",
        "[PAD]",
        "[EOS]",
        "<EOT>",
    ),
    *("<|end|>", "<|user|>", "<｜end▁of▁sentence｜>", "<|START_OF_TURN_TOKEN|>", "IMGIMGABZ"),
    *("<sentinel:12>", "<|fim_prefix|>", "<think>", "[EMPTY_3]"),
)
CONTRACTIONS = (
    *(
        "'s",
        "'S",
        "'re",
        "'RE",
        "'vE",
        "'ll",
        "'LL",
        "'d",
        "'t",
        "'M",
        "'ſ",
        "’s",
        "'",
        "'x",
        "'st",
    ),
)
CLUSTERS = (
    *("👩‍👩‍👧", "🏳️‍🌈", "e\u0301", "क्षि", "ﷺ", "ǅ", "ß", "İ", "ﬁ", "각", "\u1100\u1161", "㍿", "½"),
    *("Ⅷ", "٣٤", "१२३", "𝟘𝟙", "‿", "▁", "▁▁", "Ġ", "Ċ", "\ufeff", "\u200d", "\u00ad", "\ufffd"),
)
SPACES = (
    *(" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\v", "\f", "\x85", "\xa0"),
    *(
        "\u1680",
        "\u2003",
        "\u2028",
        "\u2029",
        "\u202f",
        "\u205f",
        "\u3000",
        "\x1c",
        "\x1f",
        "\u180e",
    ),
)
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…。，、！？「」—“”§¶€¬×÷´"
WORDS = ("the", "Hello", "HTML", "camelCase", "naïve", "Straße", "ΑΒγ", "Привет", "世界", "かな",
         "한국어", "עברית", "العربية", "ไทย", "বাংলা", "ÀÉî", "ʼn", "aB", "Ab", "ÉCOLE")  # fmt: skip


def texts(n: int, seed: int, pieces: Sequence[str], marks: Sequence[str]) -> list[str]:
    """`n` texts; `pieces` are spellings of a vocabulary's tokens, `marks` of its special ones."""
    rng = random.Random(seed)
    by_category = _by_category()
    categories = sorted(by_category)

    def digits() -> str:
        return "".join(rng.choices("0123456789", k=rng.randint(1, 11)))

    def any_char() -> str:
        return rng.choice(by_category[rng.choice(categories)])

    def run() -> str:
        return rng.choice((any_char(), rng.choice(SPACES), rng.choice(PUNCTUATION))) * rng.randint(
            1, 9
        )

    def cut(text: str) -> str:
        start = rng.randrange(len(text))
        return text[start : rng.randint(start + 1, len(text))]

    parts = (
        *(lambda: rng.choice(WORDS),) * 3,
        *(lambda: rng.choice(SPACES),) * 3,
        lambda: rng.choice(SPACES) + rng.choice(SPACES),
        lambda: rng.choice(PUNCTUATION),
        lambda: rng.choice(CONTRACTIONS),
        lambda: rng.choice(CLUSTERS),
        lambda: rng.choice(LOOK_ALIKES),
        lambda: rng.choice(marks) if marks else "",
        lambda: cut(rng.choice(marks)) if marks else "",
        *(lambda: rng.choice(pieces),) * 2,
        *(any_char,) * 2,
        lambda: "".join(any_char() for _ in range(rng.randint(2, 5))),
        lambda: chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))),
        lambda: chr(rng.randrange(32)),
        digits,
        run,
    )
    return ["".join(rng.choice(parts)() for _ in range(rng.randint(1, 9))) for _ in range(n)]


def _by_category() -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        found[unicodedata.category(chr(code))].append(chr(code))
    return dict(found)
