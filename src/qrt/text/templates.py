"""Chat templates for files that bring none, chosen by the special tokens of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""

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

BY_TOKENS: Mapping[tuple[str, ...], str] = {
    ("<|im_start|>", "<|im_end|>"): CHATML,
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"): LLAMA_3,
    ("<s>", "</s>"): LLAMA_2,
}
"""Template by tokens that the vocabulary has, the surest sign first."""
