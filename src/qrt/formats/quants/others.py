"""Tensor types that files may have and qrt does not read, by their ids."""

from __future__ import annotations

ACTIVATIONS: dict[int, str] = {9: "Q8_1", 15: "Q8_K"}
"""Types of activations, which are never weights."""

REMOVED: dict[int, str] = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4 (in files of bitnet.cpp I2_S)",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
"""Types that GGUF once had and no longer has."""

IK: dict[int, tuple[str, str]] = {
    133: ("Q6_0", "Q6_K"),
    134: ("IQ1_BN", "TQ1_0"),
    135: ("IQ2_BN", "TQ2_0"),
    137: ("IQ2_K", "IQ2_XS"),
    138: ("IQ3_K", "IQ3_S"),
    139: ("IQ4_K", "Q4_K"),
    140: ("IQ5_K", "Q5_K"),
    141: ("IQ6_K", "Q6_K"),
    144: ("IQ4_KS", "IQ4_XS"),
    145: ("IQ2_KS", "IQ2_XS"),
    146: ("IQ4_KSS", "IQ4_XS"),
    152: ("IQ5_KS", "Q5_K"),
    153: ("IQ2_KT", "IQ2_XXS"),
    154: ("IQ3_KT", "IQ3_XXS"),
    155: ("IQ4_KT", "IQ4_XS"),
    156: ("IQ3_KS", "IQ3_XXS"),
    157: ("IQ2_KL", "Q2_K"),
    158: ("IQ1_KT", "IQ1_M"),
}
"""Types that ik_llama.cpp alone has, each with the one of about its bits that qrt reads."""

IK_INTERLEAVED = range(202, 400)
"""Its types whose rows lie side by side."""


def why_not(type_id: int) -> str:
    """Says why there is no such type: 'type Q8_K is not supported: ...'"""
    if type_id in ACTIVATIONS:
        return f"type {ACTIVATIONS[type_id]} is not supported: it is for activations alone"
    if type_id in REMOVED:
        return f"type {REMOVED[type_id]} was removed from GGUF; the file must be made anew"
    if type_id in IK:
        name, close = IK[type_id]
        return f"type {name} of ik_llama.cpp is not supported; closest is a file in {close}"
    if type_id in IK_INTERLEAVED:
        return f"type {type_id}, interleaved rows of ik_llama.cpp, is not supported"
    return f"type {type_id} is unknown"
