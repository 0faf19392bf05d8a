"""How BPE vocabularies cut text into words, by the name in `tokenizer.ggml.pre`.

Each family is a list of splits: every regex cuts out what it matches and leaves the rest as it is.
Regexes are Oniguruma's. They give llama.cpp's words, which differ from those of the published
tokenizer.json where llama.cpp simplifies: letters outside ASCII have no case (o200k, Tekken, Youtu,
Kimi K2, Aya), white space outside ASCII is in no other class (DeepSeek LLM and Coder), and what
stands before a number belongs to its first digits (AFMoE, Aya).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from qrt.text.unicode import NEWER_RANGES, ranges

_CONTRACTION = r"'s|'t|'re|'ve|'m|'ll|'d"
_ANY_CASE = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_NEWLINES = r"\s*[\r\n]+"
_LINES = r"[^\n]+|\n+"
_SPACES = r"\s+(?!\S)|\s+"
_PUNCTUATED_ASCII = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""

_GPT2 = rf"{_CONTRACTION}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)"
_NOT_SENTENCE_MARK = r" ?[^(\s|.,!?…。，、।۔،)]+"


def _cl100k(
    *,
    contraction: str = _ANY_CASE + "|",
    letter: str = r"\p{L}",
    digits: str = r"\p{N}",
    other: str = r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    newlines: str = _NEWLINES,
    spaces: str = _SPACES,
) -> str:
    """The regex of cl100k (GPT-4) and its many relatives."""
    return rf"{contraction}[^\r\n\p{{L}}\p{{N}}]?{letter}+|{digits}|{other}|{newlines}|{spaces}"


def _o200k(suffix: str, digits: str, letters: str = r"\p{L}", other: str = r"[\r\n/]*") -> str:
    """The regex of o200k (GPT-4o): words are also cut where case changes, in ASCII."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    upper, lower = rf"[[{letters}]&&[^a-z]]", rf"[[{letters}]&&[^A-Z]]"
    return (
        rf"{lead}{upper}*{lower}+{suffix}|{lead}{upper}+{lower}*{suffix}|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+{other}|{_NEWLINES}|{_SPACES}"
    )


def _caseless(suffix: str, digits: str, letters: str, other: str = r"[\r\n/]*") -> str:
    """The regex of o200k with words of any case."""
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{letters}+{suffix}|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+{other}|{_NEWLINES}|{_SPACES}"
    )


def _deepseek3(other: str) -> str:
    return (
        rf"{_PUNCTUATED_ASCII}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
        rf"| ?[\p{{P}}\p{{S}}]+{other}|{_SPACES}"
    )


_CASCADED_SPACES = (
    "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s"
)
_CASED_RANGES = (
    "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 "
    "388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba "
    "1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 "
    "1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb "
    "1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d "
    "212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 "
    "a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a "
    "ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df "
    "1e900-1e943"
)
"""Code points (hexadecimal) of the letters with case that DeepSeek LLM knows."""
_HAN_RANGES = "4e00-9fff 3400-4dbf 20000-2a6df 2a700-2ebef f900-faff 2f800-2fa1f"
_ASIAN_RANGES = (
    "4e00-9fff 3400-4dbf 8c48-faff 3040-309f 30a0-30ff ff65-ff9f 2f00-2fdf e40-e7f e80-eff "
    "1780-17ff 1000-109f aa60-aa7f a9e0-a9ff ac00-d7af 1100-11ff"
)


_CASED_LETTERS = ranges(_CASED_RANGES)
_NEWER = ranges(NEWER_RANGES)
_HAN = ranges(_HAN_RANGES)
_ASIAN = f"[{ranges(_ASIAN_RANGES)}]+"
_CATEGORY = re.compile(r"\\p\{\w+\}")
_CJK_HANGUL = r"[[一-龥ࠀ-一가-퟿]&&\S]+"
_CJK_KANA = "[一-龥぀-ゟ゠-ヿ]+"
_THREE_DIGITS = r"\p{N}{1,3}"


def _digit_lead(digit: str) -> str:
    """What a run of digits has before its groups of three: one or two, never none."""
    return rf"{digit}{{1,2}}(?=(?:{digit}{{3}})*+(?!{digit}))"


_NUMBER_LEAD, _ASCII_LEAD = map(_digit_lead, (r"\p{N}", "[0-9]"))
_GROUPED_DIGITS = (
    rf"(?:[^\p{{N}}]++|(?<!\p{{N}})){_NUMBER_LEAD}|[^\p{{N}}]*+\p{{N}}{{3}}|[^\p{{N}}]++"
)
"""Cuts runs of digits into groups of three, counted from the end; the first has what is before."""
_BEFORE_GROUPS = (
    rf"(?:(?<![0-9]){_ASCII_LEAD}|[0-9]{{3}}|[^0-9]++(?:{_ASCII_LEAD})?)"
    rf"(?:[^0-9]++(?:{_ASCII_LEAD})?)*"
)
"""Cuts in front of every group of three digits, counted from the end of a run."""


@dataclass(frozen=True)
class PreTokenizer:
    """A family: its splits in order, and what else goes with its names."""

    splits: tuple[str, ...]
    ignore_merges: bool = False  # a word that is a token is never merged from its parts
    whole_newlines: bool = False  # the same, for words of line feeds only
    add_bos: bool = False  # unless the file says otherwise
    always_bos: bool = False  # whatever the file says
    byte_level: bool = (
        True  # merges begin at bytes; else at characters, with byte tokens for others
    )
    escapes_space: bool = False  # U+2581 stands for a space


GPT2 = PreTokenizer((_GPT2,))
STARCODER = PreTokenizer((r"\p{N}", _GPT2))
LLAMA3 = PreTokenizer((_cl100k(digits=_THREE_DIGITS),), ignore_merges=True, add_bos=True)
CL100K = PreTokenizer(LLAMA3.splits)
QWEN2 = PreTokenizer((_cl100k(),))
QWEN35 = PreTokenizer((_cl100k(letter=r"[\p{L}\p{M}]", other=r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"),))
DEFAULT = PreTokenizer(
    (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
)
FALCON = PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"))
DEEPSEEK_LLM = PreTokenizer(
    (
        r"[\r\n]",
        rf"\s?[{_CASED_LETTERS}]+",
        r"\s?[!-/:-~！-／：-～‘-‟、-。]+",
        r"\s+$",
        _CJK_HANGUL,
        r"\p{N}+",
    )
)
DEEPSEEK_CODER = PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK_HANGUL, r"\p{N}"))
DEEPSEEK_V3 = PreTokenizer((_THREE_DIGITS, _CJK_KANA, _deepseek3(rf"[\r\n]*|{_NEWLINES}")))
SPARK = PreTokenizer((_THREE_DIGITS, _CJK_KANA, _deepseek3(r"|[\r\n]"), r"\p{N}"))
BLOOM = PreTokenizer((_NOT_SENTENCE_MARK,))
VIKING = PreTokenizer((_NOT_SENTENCE_MARK, r"\p{N}"))
TEKKEN = PreTokenizer((_o200k("", r"\p{N}"),), ignore_merges=True, add_bos=True)
O200K = PreTokenizer((_o200k(_ANY_CASE + "?", _THREE_DIGITS),))
GRANITE_EMBEDDING = PreTokenizer(
    (_o200k(_ANY_CASE + "?", _THREE_DIGITS, letters=r"\p{L}\p{M}"),), ignore_merges=True
)
AYA = PreTokenizer(
    (_GROUPED_DIGITS, _caseless(_ANY_CASE + "?", _THREE_DIGITS, r"[\p{L}\p{M}]")),
)
KIMI_K2 = PreTokenizer(
    (
        rf"[{_HAN}]+|"
        + _caseless(_ANY_CASE + "?", _THREE_DIGITS, rf"[\p{{L}}&&[^{_HAN}]]", other=r"[\r\n]*"),
    )
)
AFMOE = PreTokenizer((_GROUPED_DIGITS, _ASIAN, _deepseek3(rf"[\r\n]*|{_NEWLINES}")))
SUPERBPE = PreTokenizer((r"\p{N}+", _BEFORE_GROUPS))
CHAMELEON = PreTokenizer(
    (
        "<sentinel:[0-9]+>",
        "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        r"([\t\n]|    |  )",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        _GPT2,
    ),
    add_bos=True,
)
JAIS2 = PreTokenizer((_cl100k(digits=_THREE_DIGITS, spaces=_CASCADED_SPACES),))
BAILING = PreTokenizer((_cl100k(newlines=r"\s*[\r\n]"),))
SEED_CODER = PreTokenizer((_cl100k(other=r" ?[^\s\p{L}\p{N}\r\n]+"),))
UFAKZEKA = PreTokenizer((_cl100k(contraction=""),))
LAGUNA = PreTokenizer((_LINES, *QWEN2.splits))
SARVAM = PreTokenizer((_LINES,), byte_level=False, escapes_space=True)
GEMMA4 = replace(SARVAM, whole_newlines=True, add_bos=True, always_bos=True)
WHITESPACE = PreTokenizer((r"\S+",), byte_level=False)
EXAONE_MOE = PreTokenizer(
    (
        _cl100k(
            letter=r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)",
            other=r" ?[^\s\p{L}\p{N}]+[\r\n/]?",
            newlines=r"\s*[\r\n]",
        ),
    )
)
MINICPM5 = PreTokenizer((_THREE_DIGITS, _cl100k(digits=r"\p{N}+")), ignore_merges=True)
YOUTU = PreTokenizer(
    (
        "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
        _caseless(_ANY_CASE + "?", r"\p{N}", r"[\p{L}\p{M}]"),
    ),
    ignore_merges=True,
)

_NAMES: Mapping[str, PreTokenizer] = {
    "default": DEFAULT,
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": LLAMA3,
    "dbrx smaug-bpe chatglm-bpe": CL100K,
    "glm4 glm5": replace(CL100K, ignore_merges=True),
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2": QWEN2,
    "qwen35": QWEN35,
    "gpt-2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe"
    " gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion granite-docling": GPT2,
    "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2": STARCODER,
    "falcon": FALCON,
    "deepseek-llm": DEEPSEEK_LLM,
    "deepseek-coder": DEEPSEEK_CODER,
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": DEEPSEEK_V3,
    "spark2_5": SPARK,
    "poro-chat bloom gpt3-finnish": BLOOM,
    "viking": VIKING,
    "tekken": TEKKEN,
    "gpt-4o llama4 kanana2 talkie minimax-m2": O200K,
    "granite-embed-multi-97m": GRANITE_EMBEDDING,
    "tiny_aya cohere2moe": AYA,
    "kimi-k2": KIMI_K2,
    "afmoe": AFMOE,
    "superbpe": SUPERBPE,
    "sarvam-moe": SARVAM,
    "gemma4 granite-embed-multi-311m": GEMMA4,
    "whitespace": WHITESPACE,
    "chameleon": CHAMELEON,
    "jais-2": JAIS2,
    "bailingmoe bailingmoe2 llada-moe": BAILING,
    "seed-coder": SEED_CODER,
    "ufakzeka": UFAKZEKA,
    "laguna": LAGUNA,
    "exaone-moe": EXAONE_MOE,
    "minicpm5": MINICPM5,
    "youtu": YOUTU,
}

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    name: family for names, family in _NAMES.items() for name in names.split()
}
"""Family by `tokenizer.ggml.pre`."""


def engine_regex(split: str) -> str:
    """A split with its categories as Unicode 15.1 has them, whichever version the engine knows."""
    return _CATEGORY.sub(rf"[\g<0>&&[^{_NEWER}]]".replace("\\x", "\\\\x"), split)
