"""llama.cpp's flags that are not ours, as data: what each is here, or what to do instead.

A flag of ours that has llama.cpp's name and meaning does not stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_ANY: Final = r".*"
_SWITCH: Final = r"(?:on|off|auto|0|1)"
_NO_GPU: Final = "qrt computes on the CPU alone; leave it out"
_NO_DRAFT: Final = "qrt does not draft tokens ahead; leave it out, the answer is the same"
_NO_MEDIA: Final = "qrt reads text alone"
_NO_SERVER: Final = "is of a server; qrt serve runs one"
_ROPE: Final = "qrt scales positions as the file says; leave it out"
_AFFINITY: Final = "qrt leaves the choice of CPUs to the system; start it with taskset, or give -t"
_PRIORITY: Final = "qrt keeps the priority it was started with; start it with nice"
_CACHE: Final = "qrt keeps no prompt in a file of your own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What flags of one meaning are here.

    value: a pattern that its value matches in full; None: the flag takes none.
    may_be_alone: the value may be missing: what follows and does not match is none.
    good: a pattern of the values that are taken; None: the flag is always refused.
    ours: what stands for it on our command line, `{}` being its value; empty: nothing does.
    by_value: the same, where it depends on the value.
    instead: where it is refused, why, and what to do instead.
    """

    value: str | None = None
    may_be_alone: bool = False
    good: str | None = _ANY
    ours: tuple[str, ...] = ()
    by_value: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    instead: str = ""


def _is(*ours: str) -> Row:
    takes_value = any("{}" in word for word in ours)
    return Row(value=_ANY if takes_value else None, ours=ours)


def _only(good: str, instead: str) -> Row:
    return Row(value=_ANY, good=good, instead=instead)


def _refused(instead: str) -> Row:
    return Row(good=None, instead=instead)


_NOTHING = Row()
_NOTHING_WITH_VALUE = Row(value=_ANY)

Rows = Mapping[str, Row]
"""Rows by their flags, with spaces between; in a flag, * stands for any characters."""

MODEL: Rows = {
    "-hf -hfr --hf-repo": _is("--model", "hf:{}"),
    "-mu --model-url": _is("--model", "{}"),
    "-hff --hf-file": _refused("name the file behind the repository: -m hf:OWNER/NAME/FILE.gguf"),
    "-hft --hf-token": _refused("put the token into the environment, as HF_TOKEN"),
    "-dr --docker-repo": _refused("qrt fetches from the Hugging Face hub: qrt pull OWNER/NAME"),
    "--offline": _NOTHING,
    "--gpt-oss-* --fim-*": _refused(
        "name the model, as in -m gpt-oss:20b; qrt list --all has names"
    ),
    "--vision-*": _refused(_NO_MEDIA),
    "--lora-scaled": _is("--lora", "{}"),
    "--lora-init-without-apply": _refused("give a scale of 0, as in --lora FILE:0"),
    "--control-vector*": _refused("qrt applies no control vectors; leave it out"),
    "--override-kv": _refused("qrt takes the file as it is; gguf-set-metadata of gguf-py edits it"),
    "--check-tensors": _NOTHING,
}
"""The model, its file and where it comes from."""

SPEED: Rows = {
    "-b --batch-size -ub --ubatch-size": _NOTHING_WITH_VALUE,
    "--swa-full --no-host --op-offload --no-op-offload": _NOTHING,
    "--repack -nr --no-repack": _NOTHING,
    "-kvo --kv-offload -nkvo --no-kv-offload": _NOTHING,
    "--mmap --no-mmap -dio --direct-io -ndio --no-direct-io": _NOTHING,
    "-lm --load-mode": Row(
        value=r"auto|none|mmap|mlock|mmap\+mlock|dio",
        by_value={"mlock": ("--mlock",), "mmap+mlock": ("--mlock",)},
    ),
    "-fa --flash-attn": Row(value=_SWITCH, may_be_alone=True),
    "-ngl --gpu-layers --n-gpu-layers --ngl": _only(
        "0|-1|auto", "qrt computes on the CPU alone; leave it out, or give 0"
    ),
    "-sm --split-mode -ts --tensor-split -mg --main-gpu": _NOTHING_WITH_VALUE,
    "-dev --device": _only("(?i:none|cpu)", _NO_GPU),
    "--list-devices": _refused("qrt doctor shows this machine"),
    "-cmoe --cpu-moe -fitp --fit-print": _NOTHING,
    "-ncmoe --n-cpu-moe -ncffn --n-cpu-ffn -fitt --fit-target -fitc --fit-ctx": _NOTHING_WITH_VALUE,
    "-lzm --lazy-mode": _NOTHING_WITH_VALUE,
    "-fit --fit": Row(value=_SWITCH),
    "-ot --override-tensor": _only(
        r"[^=,]+=CPU(?:,[^=,]+=CPU)*", "qrt computes on the CPU alone; leave it out"
    ),
    "--rpc": _refused("qrt computes on this machine alone; leave it out"),
    "--poll --poll-batch": _NOTHING_WITH_VALUE,
    "-C --cpu-mask -Cr --cpu-range -Cb --cpu-mask-batch -Crb --cpu-range-batch": _refused(
        _AFFINITY
    ),
    "--cpu-strict --cpu-strict-batch": _only("0", _AFFINITY),
    "--prio --prio-batch": _only("0", _PRIORITY),
    "--numa": _only(
        "numactl", "qrt places no memory itself; start it with numactl --interleave=all"
    ),
    "-md -hfd -hfrd -ngld -td -tbd -devd -ctkd -ctvd -otd": _refused(_NO_DRAFT),
    "-cmoed -ncmoed -Cd -Crd -Cbd -Crbd --spec-* --draft* --no-spec-* --*-draft": _refused(
        _NO_DRAFT
    ),
    "--mtp --eagle3 --dflash -lcs -lcd --lookup-cache-*": _refused(_NO_DRAFT),
    "--rope-* --yarn-* -gan --grp-attn-n -gaw --grp-attn-w": _refused(_ROPE),
    "-ctxcp --ctx-checkpoints --swa-checkpoints": _NOTHING_WITH_VALUE,
    "-dt --defrag-thold -cram --cache-ram": _NOTHING_WITH_VALUE,
    "-kvu --kv-unified -no-kvu --no-kv-unified": _NOTHING,
    "-np --parallel": _only("1", "one prompt is answered at a time; leave it out"),
    "--warmup --no-warmup": _NOTHING,
}
"""How fast: none of it changes an answer."""

OUTPUT: Rows = {
    "--perf --show-timings": _is("--timings"),
    "--no-perf --no-show-timings": _is("--no-timings"),
    "--usage": _is("--help"),
    "--log-disable --log-prefix --no-log-prefix --log-timestamps --no-log-timestamps": _NOTHING,
    "-v --verbose --log-verbose --log-jsonl --no-log-jsonl": _NOTHING,
    "-lv --verbosity --log-verbosity": _NOTHING_WITH_VALUE,
    "--log-colors": Row(value=_SWITCH, may_be_alone=True),
    "--log-file --log-prompts-dir": _refused("qrt writes no log; 2> FILE keeps what it says"),
    "--no-display-prompt": _NOTHING,
    "-co --color": Row(
        value=_SWITCH,
        may_be_alone=True,
        good="on|auto|1",
        instead="put NO_COLOR=1 into the environment to see no colours",
    ),
    "--display-prompt": _refused("qrt prints the answer alone"),
    "--verbose-prompt": _refused("qrt tokenize shows the tokens of a text"),
    "-ptc --print-token-count": _refused("--timings counts the tokens of prompt and answer"),
    "-o --output --output-file": _refused("> FILE keeps the answer"),
    "-sp --special": _refused("qrt shows no special tokens; qrt tokenize does"),
    "--prompt-cache --prompt-cache-all --prompt-cache-ro": _refused(_CACHE),
    "-cl --cache-list": _refused("qrt list shows the models of this machine"),
    "--completion-bash": _refused("qrt --install-completion completes flags and models"),
    "--version": _refused("qrt --version prints it"),
    "--license": _refused("pip show qrt names its license"),
}
"""What is shown."""

PROMPT: Rows = {
    "--no-escape --no-context-shift": _NOTHING,
    "-bf --binary-file": _refused("qrt reads prompts in UTF-8; give -f FILE"),
    "--spm-infill": _refused("qrt fills no gaps; write the model's own marks into qrt complete"),
}
"""What the model is given."""

SAMPLING: Rows = {
    "-bs --backend-sampling": _NOTHING,
    "--grammar-file": _is("--grammar", "{}"),
    "-jf --json-schema-file": _is("--json-schema", "{}"),
    "--adaptive-*": _refused("qrt has no adaptive-p; --min-p or --top-nsigma do a like thing"),
}
"""How a token is chosen."""

SERVER: Rows = {
    "--host --port --path --api-* --ssl-* --slots --no-slots --slot-*": _refused(_NO_SERVER),
    "--metrics --props --embedding --embeddings --rerank --reranking --pooling": _refused(
        _NO_SERVER
    ),
    "-cb --cont-batching -nocb --no-cont-batching -a --alias -to --timeout": _refused(_NO_SERVER),
    "--cors-* --no-cors-* --models-* --no-models-* --mcp-* --ui-* --webui-*": _refused(_NO_SERVER),
    "--*-mcp-proxy --cache-prompt --no-cache-prompt --cache-reuse --reuse-port --tags": _refused(
        _NO_SERVER
    ),
    "--server-base --tools --agent --ui --no-ui --webui --no-webui --threads-http": _refused(
        _NO_SERVER
    ),
}
"""Flags of llama-server alone."""

CHAT: Rows = {
    "--jinja --no-jinja --skip-chat-parsing --no-skip-chat-parsing": _NOTHING,
    "--reasoning-format": _NOTHING_WITH_VALUE,
    "--reasoning-budget": Row(value=_ANY, by_value={"-1": ()}, ours=("--thinking-budget", "{}")),
    "--reasoning-budget-message": _refused("qrt ends thoughts without a word; leave it out"),
    "-rea --reasoning": Row(
        value="on|off|auto", by_value={"on": ("--think",), "off": ("--no-think",)}
    ),
    "--reasoning-effort": _is("--chat-template-kwargs", '{{"reasoning_effort": "{}"}}'),
    "--reasoning-preserve --no-reasoning-preserve": _NOTHING,
    "-i --interactive -if --interactive-first": _is("--conversation"),
    "-mli --multiline-input": _NOTHING,
    "--simple-io": _is("--plain"),
    "--in-prefix-bos": _refused("put {{ bos_token }} into a --chat-template TEXT"),
    "-mm --mmproj -mmu --mmproj-url -mmdev --mmproj-device --image* --audio --video*": _refused(
        _NO_MEDIA
    ),
    "--no-mmproj --no-mmproj-auto --mmproj-auto --mmproj-offload --no-mmproj-offload": _NOTHING,
}
"""Conversations."""

_AS_IT_STANDS = "qrt complete sends the text as it stands; qrt run has this"

TEXT: Rows = {
    "-no-cnv --no-conversation -st --single-turn --jinja --no-jinja --simple-io": _NOTHING,
    "-cnv --conversation -i --interactive -if --interactive-first": _refused(_AS_IT_STANDS),
    "-sys --system-prompt -sysf --system-prompt-file": _refused(_AS_IT_STANDS),
    "--chat-template*": _refused(_AS_IT_STANDS),
    "--in-prefix --in-suffix --in-prefix-bos": _refused("put it into the text"),
}
"""Texts that are continued without a conversation."""

SERVE: Rows = {
    "-a": _is("--alias", "{}"),
    "--no-webui --no-ui": _is("--no-page"),
    "--metrics --props --slots --no-slots --webui --ui --cache-prompt": _NOTHING,
    "-cb --cont-batching -nocb --no-cont-batching --reuse-port": _NOTHING,
    "--threads-http --cache-reuse --slot-prompt-similarity -sps -to --timeout": _NOTHING_WITH_VALUE,
    "--no-cache-prompt": _refused('a request may have "cache_prompt": false'),
    "--ssl-*": _refused("TLS is the work of a proxy before it"),
    "--path --api-prefix": _refused("a proxy before it may serve files and add to paths"),
    "--embeddings": _is("--embedding"),
    "--rerank --reranking": _NOTHING,
    "--models-* --no-models-*": _refused("without MODEL all models of `qrt list` are served"),
    "--sleep-idle-seconds": _is("--keep-alive", "{}"),
}
"""What llama-server's flags are to our server."""

EMBED: Rows = {
    "--embedding --embeddings": _NOTHING,
    "--embd-normalize": Row(
        value=_ANY,
        good="-1|2",
        by_value={"-1": ("--no-normalize",)},
        instead="give 2 for vectors of length 1, or -1 for them as they are",
    ),
    "--embd-output-format": Row(
        value=_ANY,
        good="array|json|raw",
        by_value={"array": ("--jsonl",), "json": ("--jsonl",)},
        instead="give --jsonl, or -o FILE.npy",
    ),
    "--embd-separator": _only(r"\\n|\n", "texts are lines of -f FILE, or arguments"),
    "--attention": _refused("qrt attends as the model was trained; leave it out"),
}
"""What llama-embedding's flags are to `qrt embed`."""

_NO_ADAPTERS = "qrt measures models without adapters; merge it into the model's file"

MEASURES: Rows = {
    "--mlock": _NOTHING,
    "-lm --load-mode": _NOTHING_WITH_VALUE,
    "--lora*": _refused(_NO_ADAPTERS),
}
"""What is nothing to a command that measures quality."""

_NOTHING_WITH_LIST = Row(value=r"[\w,.+*/-]+")

BENCH: Rows = {
    "-b --batch-size -ub --ubatch-size -fa --flash-attn -ncmoe --n-cpu-moe": _NOTHING_WITH_LIST,
    "-mmp --mmap -dio --direct-io -lm --load-mode -lzm --lazy-mode": _NOTHING_WITH_LIST,
    "-nkvo --no-kv-offload -nopo --no-op-offload --no-host --repack": _NOTHING_WITH_LIST,
    "-sm --split-mode -ts --tensor-split -mg --main-gpu": _NOTHING_WITH_LIST,
    "--poll -fitt --fit-target -fitc --fit-ctx --delay": _NOTHING_WITH_LIST,
    "-ngl --n-gpu-layers": SPEED["-ngl --gpu-layers --n-gpu-layers --ngl"],
    "-dev --device": SPEED["-dev --device"],
    "-ot --override-tensor": SPEED["-ot --override-tensor"],
    "--numa": SPEED["--numa"],
    "--prio": SPEED["--prio --prio-batch"],
    "--cpu-strict": SPEED["--cpu-strict --cpu-strict-batch"],
    "-C --cpu-mask": _refused(_AFFINITY),
    "-nr --no-repack --progress --no-warmup -v --verbose": _NOTHING,
    "-rpc --rpc": SPEED["--rpc"],
    "--list-devices": SPEED["--list-devices"],
    "-embd --embeddings": _only("0", "qrt bench measures prompts and answers"),
    "--lora*": _refused(_NO_ADAPTERS),
    "-pg": _refused("give -p and -n, which are measured one after the other"),
    "-oe --output-err": _refused("give -o FORMAT; 2> FILE keeps what is said beside it"),
}
"""Flags of llama-bench, of which most take a list of values."""

LLAMA_CPP: Mapping[str, tuple[Rows, ...]] = {
    "run": (CHAT, PROMPT, MODEL, SPEED, OUTPUT, SAMPLING, SERVER),
    "complete": (TEXT, CHAT, PROMPT, MODEL, SPEED, OUTPUT, SAMPLING, SERVER),
    "serve": (SERVE, CHAT, MODEL, SPEED, OUTPUT, SERVER),
    "embed": (EMBED, MODEL, SPEED, OUTPUT),
    "rerank": (MODEL, SPEED, OUTPUT),
    "perplexity": (MEASURES, MODEL, SPEED, OUTPUT),
    "kl": (MEASURES, MODEL, SPEED, OUTPUT),
    "bench": (BENCH, MODEL),
}
"""The rows of each command that takes the flags of a program of llama.cpp's; the first one counts.
"""
