"""Chat templates by name, and for files that bring none by the special tokens of the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from reprlib import repr as shown

from qrt.errors import InputError

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""

LAST_MESSAGE = "{{ messages[-1].content + eos_token }}"
"""For a text that an encoder reads: models that have one know no conversations."""

LLAMA_2 = """\
{%- if messages[0].role == 'system' -%}
{%- set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' -%}
{%- set turns = messages[1:] -%}
{%- else -%}
{%- set system = '' -%}
{%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
{%- if message.role == 'user' -%}
{{ bos_token + '[INST] ' + (system if loop.first else '') + message.content.strip() + ' [/INST]' }}
{%- elif message.role == 'assistant' -%}
{{ ' ' + message.content.strip() + ' ' + eos_token }}
{%- else -%}
{{ raise_exception('roles must be user and assistant, with one system message at the start') }}
{%- endif -%}
{%- endfor -%}
"""

LLAMA_3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
{{- message.content.strip() + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif -%}
"""

GEMMA = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ raise_exception('there is no system role') }}{%- endif -%}
{%- set role = 'model' if message.role == 'assistant' else message.role -%}
{{ '<start_of_turn>' + role + '\\n' + message.content.strip() + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}
"""

_TAGGED = """\
{%- for message in messages -%}
{{ '<|' + message.role + '|>\\n' + message.content + END + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif -%}
"""

VICUNA = """\
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{{ message.content + '\\n\\n' }}
{%- elif message.role == 'user' -%}
{{ 'USER: ' + message.content + '\\n' }}
{%- else -%}
{{ 'ASSISTANT: ' + message.content + eos_token + '\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif -%}
"""

RWKV = """\
{%- for message in messages if message.role in ('system', 'user', 'assistant') -%}
{{ message.role.capitalize() + ': ' + message.content.strip() + '\\n\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif -%}
"""

NAMED: Mapping[str, str] = {
    "chatml": CHATML,
    "gemma": GEMMA,
    "llama2": LLAMA_2,
    "llama3": LLAMA_3,
    "phi3": _TAGGED.replace("END", "'<|end|>'"),
    "rwkv-world": RWKV,
    "vicuna": VICUNA,
    "zephyr": _TAGGED.replace("END", "eos_token"),
}
"""By the names that llama.cpp gives them; old files have such a name in place of a template."""

BY_TOKENS: Mapping[tuple[str, ...], str] = {
    ("<|im_start|>", "<|im_end|>"): CHATML,
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"): LLAMA_3,
    ("<s>", "</s>"): LLAMA_2,
}
"""Template by tokens that the vocabulary has, the surest sign first."""


def template_source(text: str) -> str:
    """The template that a caller asks for by its name or as Jinja. Raises InputError."""
    if not isinstance(text, str):
        raise InputError(f"chat_template must be a name or a text, got {shown(text)}")
    if re.search(r"\{[{%]", text):
        return text
    found = named(text)
    if found is None:
        known = ", ".join(NAMED)
        raise InputError(f"chat_template must be Jinja, or one of {known}; got {shown(text)}")
    return found


def named(text: str) -> str | None:
    """The template of that name, however its words are joined; None for any other text."""
    plain = {name.replace("-", ""): source for name, source in NAMED.items()}
    return plain.get(text.lower().replace("-", ""))
