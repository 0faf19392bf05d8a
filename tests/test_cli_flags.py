"""Command lines in llama.cpp's words: what each flag is read as, or why it is refused."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from qrt.cli.app import app
from qrt.cli.arguments import model_file

COMMANDS = typer.main.get_command(app).commands
EMBEDDED = model_file(None)


def invoke(*args, piped=""):
    return CliRunner().invoke(app, [str(arg) for arg in args], input=piped)


def read(command, line):
    """The parameters that a command line comes to."""
    return COMMANDS[command].make_context(command, line.split()).params


SAME = {
    "serve": {
        "-a x": "--alias x",
        "--no-webui": "--no-page",
        "--sleep-idle-seconds 60": "--keep-alive 60",
        "--embeddings": "--embedding",
        "-hf o/n:Q8_0": "-m hf:o/n:Q8_0",
    },
    "run": {
        "-hf o/n:Q8_0": "-m hf:o/n:Q8_0",
        "-hfr o/n": "-m hf:o/n",
        "--hf-repo o/n": "-m hf:o/n",
        "--hf-repo=o/n": "-m hf:o/n",
        "-mu https://x/y.gguf": "-m https://x/y.gguf",
        "--model-url https://x/y.gguf": "-m https://x/y.gguf",
        "--ctx-size 64": "-c 64",
        "--ctx_size=64": "-c 64",
        "-c64": "-c 64",
        "-n-1": "-n -1",
        "--predict 5": "-n 5",
        "--n-predict 5": "-n 5",
        "--threads 2": "-t 2",
        "--seed 3": "-s 3",
        "--temperature 1": "--temp 1",
        "--typical-p 0.5": "--typical 0.5",
        "--top-n-sigma 1": "--top-nsigma 1",
        "--sampling-seq kt": "--sampler-seq kt",
        "--logit-bias 5-inf": "-l 5-inf",
        "--reverse-prompt x": "-r x",
        "--system-prompt x": "-sys x",
        "--prompt x": "-p x",
        "--file x": "-f x",
        "--escape": "-e",
        "--cache-type-k q8_0": "-ctk q8_0",
        "--cache-type-v q8_0": "-ctv q8_0",
        "--perf": "--timings",
        "--lora-scaled x:0.5": "--lora x:0.5",
        "--show-timings": "--timings",
        "--conversation": "-cnv",
        "--interactive": "-cnv",
        "-i": "-cnv",
        "-if": "-cnv",
        "--interactive-first": "-cnv",
        "--no-conversation": "-no-cnv",
        "--single-turn": "-st",
        "--system-prompt-file x": "-sysf x",
        "--no-perf": "--no-timings",
        "--reasoning-budget 100": "--thinking-budget 100",
        "--reasoning off": "--no-think",
        "-rea on": "--think",
        "--simple-io": "--plain",
        "-lm mlock": "--mlock",
        "--load-mode mmap+mlock": "--mlock",
        "--threads-batch 2": "-tb 2",
        "--no-show-timings": "--no-timings",
        "--grammar-file x": "--grammar x",
        "--json-schema-file x": "-j x",
        "-jf x": "--json-schema x",
    },
    "complete": {"-hf o/n": "-m hf:o/n", "--perf": "--timings", "--keep 2": "--keep 2"},
    "bench": {"-hf o/n": "-m hf:o/n", "--n-prompt 1,2": "-p 1,2", "--n-depth 4": "-d 4"},
    "perplexity": {"-f x -hf o/n": "-f x -m hf:o/n"},
    "embed": {
        "--embd-normalize -1": "--no-normalize",
        "--embd-output-format json": "--jsonl",
        "-hf o/n": "-m hf:o/n",
    },
}

SPEED = """
-b 512 | --batch-size 512 | -ub 64 | --ubatch-size 64 | -fa on | -fa off | -fa auto | -fa 1 | -fa
--flash-attn on | --flash-attn | -ngl 0 | -ngl auto | -ngl -1 | --gpu-layers 0 | --n-gpu-layers 0
--no-mmap | --mmap | -dio | --direct-io | -ndio | --no-direct-io | -lm none | --load-mode mmap
--repack | -nr | --no-repack | -kvo | --kv-offload | -nkvo | --no-kv-offload | --swa-full
--no-host | --op-offload | --no-op-offload | -sm layer | --split-mode none | -ts 3,1 | -mg 0
--tensor-split 1,1 | --main-gpu 0 | -dev none | --device CPU | -cmoe | --cpu-moe | -ncmoe 9
--n-cpu-moe 9 | -ot exps=CPU | --override-tensor a=CPU,b=CPU | -fit on | --fit off | -fitt 1024
-fitc 4096 | --fit-target 1 | --fit-ctx 2 | --poll 50 | --poll-batch 1 | --cpu-strict 0
--cpu-strict-batch 0 | --prio 0 | --prio-batch 0 | --numa numactl | -np 1 | --parallel 1
-dt 0.1 | --defrag-thold 0.1 | -ctxcp 32 | --ctx-checkpoints 32 | --swa-checkpoints 32
-cram 100 | --cache-ram 100 | --warmup | --no-warmup | --check-tensors | --offline
-kvu | --kv-unified | -no-kvu | --no-kv-unified
"""
SHOWN = """
--log-disable | --log-prefix | --no-log-prefix | --log-timestamps | --no-log-timestamps | -v
--verbose | --log-verbose | -lv 3 | --verbosity 3 | --log-verbosity 3 | --log-colors off
--log-colors | --no-display-prompt | -co | --color | --color on | -co auto
--no-escape | -bs | --backend-sampling | --no-context-shift | --jinja | --no-jinja
"""
CHAT = """
-rea auto | --reasoning auto | --reasoning-budget -1
--skip-chat-parsing | --no-skip-chat-parsing | --reasoning-format none | -mli | --multiline-input
--reasoning-preserve | --no-reasoning-preserve | --no-mmproj | --mmproj-auto | --no-mmproj-auto
--mmproj-offload | --no-mmproj-offload
"""
TEXT = "-no-cnv | --no-conversation | -st | --single-turn | --simple-io"
BENCH = """
-b 512,1024 | -ub 64 | -fa 0,1 | -fa on | -mmp 0 | --mmap 0 | -dio 0 | -lm mmap | -nkvo 0,1
--no-kv-offload 0 | -nopo 0 | --no-op-offload 1 | --no-host 0 | --repack 1 | -sm none | -mg 0
-ts 1/1 | -ncmoe 2 | --poll 50 | -fitt 5 | -fitc 5 | --delay 0 | -ngl 0 | -dev none | --prio 0
--cpu-strict 0 | -ot exps=CPU | --numa numactl | -embd 0 | -nr | --no-repack | --progress
--no-warmup | -v | --verbose | --offline
"""
MEASURES = "--mlock | -lm mlock | -lm none | -ngl 0 | -b 512 | -fa on | --log-disable | -v"
SERVED = """\
--metrics | --props | --slots | --no-slots | --webui | -cb | --cont-batching | -nocb | --jinja
--rerank | --reranking
--threads-http 4 | --cache-reuse 256 | -sps 0.5 | -to 600 | --timeout 600 | --reasoning-format auto
"""

IGNORED = {
    "run": SPEED + SHOWN + CHAT,
    "complete": SPEED + SHOWN + TEXT,
    "serve": SERVED,
    "bench": BENCH,
    "perplexity": MEASURES,
    "embed": "--embedding | --embd-normalize 2 | -ngl 0 | -b 512 | -fa on | --no-warmup",
}

NOT_THEIR_OWN = {
    "serve": {
        "--ssl-key-file x": "a proxy",
        "--api-prefix /x": "a proxy",
        "--embedding": "give MODEL",
        "--models-dir x": "qrt list",
        "--no-cache-prompt": '"cache_prompt": false',
        "--alias x": "give MODEL",
    },
    "run": {
        "-ngl 99": "qrt computes on the CPU alone; leave it out, or give 0",
        "-ngl all": "leave it out, or give 0",
        "--n-gpu-layers 20": "leave it out, or give 0",
        "-hff x.gguf": "-m hf:OWNER/NAME/FILE.gguf",
        "--hf-file x.gguf": "-m hf:",
        "-hft x": "HF_TOKEN",
        "--hf-token x": "HF_TOKEN",
        "-dr gemma3": "qrt pull",
        "--gpt-oss-20b-default": "-m gpt-oss:20b",
        "--lora-init-without-apply": "--lora FILE:0",
        "--control-vector x": "leave it out",
        "--control-vector-layer-range 1 2": "leave it out",
        "--override-kv a=int:1": "gguf-set-metadata",
        "-dev CUDA0": "CPU alone",
        "--list-devices": "qrt doctor",
        "-ot exps=CUDA0": "CPU alone",
        "--rpc a:1": "this machine alone",
        "-C ff": "taskset",
        "--cpu-mask ff": "taskset",
        "-Cr 0-3": "taskset",
        "-Cb ff": "taskset",
        "--cpu-strict 1": "taskset",
        "--prio 2": "nice",
        "--numa distribute": "numactl",
        "-np 4": "one prompt is answered at a time",
        "-md x": "does not draft",
        "--model-draft x": "does not draft",
        "-hfd x": "does not draft",
        "-ngld 5": "does not draft",
        "-td 4": "does not draft",
        "--spec-type x": "does not draft",
        "--draft-max 5": "does not draft",
        "--cache-type-k-draft f16": "does not draft",
        "--rope-scale 2": "as the file says",
        "--rope-freq-base 1": "as the file says",
        "--yarn-orig-ctx 1": "as the file says",
        "-gan 2": "as the file says",
        "--log-file x": "2> FILE",
        "--color off": "NO_COLOR=1",
        "--display-prompt": "answer alone",
        "--verbose-prompt": "qrt tokenize",
        "-ptc 5": "--timings",
        "--reasoning-budget-message x": "without a word",
        "-o x": "> FILE",
        "--special": "qrt tokenize",
        "-sp": "qrt tokenize",
        "--prompt-cache x": "keeps no prompt",
        "--prompt-cache-all": "keeps no prompt",
        "-cl": "qrt list",
        "--completion-bash": "--install-completion",
        "-bf x": "-f FILE",
        "--adaptive-target 0.5": "--min-p",
        "--host x": "is of a server; qrt serve runs one",
        "--port 8080": "is of a server; qrt serve runs one",
        "--models-dir x": "is of a server; qrt serve runs one",
        "--cache-reuse 5": "is of a server; qrt serve runs one",
        "--version": "qrt --version",
        "--api-key x": "is of a server; qrt serve runs one",
        "--server-base x": "is of a server; qrt serve runs one",
        "--in-prefix-bos": "--chat-template",
        "-mm x": "text alone",
        "--mmproj x": "text alone",
        "--image x": "text alone",
        "--audio x": "text alone",
    },
    "complete": {
        "-cnv": "qrt run has this",
        "-i": "qrt run has this",
        "-if": "qrt run has this",
        "-sys x": "qrt run has this",
        "--chat-template chatml": "qrt run has this",
        "--chat-template-file x": "qrt run has this",
        "--in-prefix x": "put it into the text",
        "-ngl 99": "give 0",
    },
    "embed": {
        "--embd-normalize 0": "or -1",
        "--embd-output-format json+": "--jsonl",
        "--attention causal": "as the model was trained",
        "--embd-separator ,": "lines of -f FILE",
    },
    "bench": {
        "-ngl 99": "give 0",
        "-pg 512,128": "-p and -n",
        "-oe md": "-o FORMAT",
        "-rpc x": "this machine alone",
        "--embeddings 1": "measures prompts and answers",
    },
}


OTHERS = {"perplexity": "-f text.txt", "embed": "--dim 3"}
"""Flags of ours that commands have."""


def lines(words):
    return [part.strip() for line in words.splitlines() for part in line.split("|") if part.strip()]


def cases(table):
    return [(command, line) for command, found in table.items() for line in found]


@pytest.mark.parametrize(("command", "line"), cases(SAME))
def test_a_flag_of_llama_cpps_is_what_ours_is(command, line):
    asked = read(command, line)
    assert asked == read(command, SAME[command][line])
    assert line.startswith(("-f", "--no-")) or asked != read(command, "")


@pytest.mark.parametrize(
    ("command", "line"), cases({name: lines(words) for name, words in IGNORED.items()})
)
def test_what_changes_no_answer_is_taken_silently(command, line):
    """And takes its own value, not what follows it."""
    model = "" if command == "complete" else " model.gguf"
    rest = f"{model} {OTHERS.get(command, '-n 3')}"
    assert read(command, f"{line}{rest}") == read(command, rest)


@pytest.mark.parametrize(("command", "line"), cases(NOT_THEIR_OWN))
def test_what_qrt_does_not_do_is_refused_by_name(command, line):
    result = invoke(command, *line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {line.split()[0]}")
    assert NOT_THEIR_OWN[command][line] in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["serve", "--temp", "0.5"], "give MODEL, or --config FILE"),
        (["run", "--temprature", "1"], "--temprature: no such flag; did you mean --temperature?"),
        (["run", "-temp", "1"], "-temp: no such flag; did you mean --temp?"),
        (["run", "--flash-atn"], "did you mean --flash-attn?"),
        (["run", "-nx"], "-nx: no such flag"),
        (["run", "-ey"], "-ey: no such flag"),
        (["run", "hi", "-n"], "-n needs a value"),
        (["run", "-b"], "-b needs a value"),
        (["run", "-fit", "maybe"], "-fit: 'maybe' is no value that it takes"),
        (["run", "-n", "x"], "Invalid value for '-n'"),
        (["list", "-ngl", "0"], "-ngl: no such flag"),
        (["info", "a", "b"], "unexpected extra argument"),
        (["run", "hi", "--sampler-seq", "kz"], "'z' is no step"),
        (["run", "hi", "-l", "5"], "--logit-bias: expected an id and a number"),
        (["run", "hi", "-l", "5+x"], "got '5+x'"),
        (["rnu"], "Did you mean 'run'? `qrt --help` lists"),
        (["model.gguf"], "model.gguf: is a model, not a command; qrt run model.gguf"),
        (["help", "rnu"], "Did you mean 'run'?"),
        (["-m", "x.gguf", "-p", "hi"], "flags stand behind a command, as in qrt run -m"),
        (["--bogus", "run"], "No such option: --bogus"),
    ],
)
def test_a_mistake_is_one_line_that_helps(args, message):
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Hello", "there"], "Hello: no such model; put a text of several words in quotes"),
        (["Hello", "there", "you"], 'in quotes: "Hello there you"'),
        (["it's", "$5"], "in quotes: 'it'\"'\"'s $5'"),
        ([EMBEDDED, "Hello", "there"], f"{EMBEDDED} is the model; put a text of several words in"),
        (["-m", EMBEDDED, "Hello", "there"], 'in quotes: "Hello there"'),
    ],
)
def test_several_words_are_told_to_be_quoted(args, message):
    result = invoke("run", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_what_follows_two_dashes_is_no_flag():
    assert read("run", "-n 3 -- -ngl -fa")["words"] == ("-fa",)


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("-n -1 -s -1", {}),
        ("-n -2 --keep 4", {"n_keep": 4}),
        ("--sampler-seq kpt", {"samplers": ["top_k", "top_p", "temperature"]}),
        ("--samplers top_k;temperature", {"samplers": ["top_k", "temperature"]}),
        ("-l 5-inf -l 7+1.5", {"logit_bias": {5: float("-inf"), 7: 1.5}}),
        ("--dry-sequence-breaker none", {"dry_sequence_breakers": []}),
        ("--dry-sequence-breaker a", {"dry_sequence_breakers": ["a"]}),
        ("--dynatemp-range 1 --dynatemp-exp 2", {"dynatemp_range": 1, "dynatemp_exponent": 2}),
    ],
)
def test_flags_of_sampling_reach_the_model(monkeypatch, flags, keywords):
    given = {}

    def stream(*_, **options):
        given.update(options)
        raise SystemExit(0)

    monkeypatch.setattr("qrt.api.Session.stream", stream)
    invoke("run", "hi", *flags.split())
    assert given == keywords


def test_zero_and_minus_one_are_the_defaults_of_loading():
    result = invoke("run", "hi", "-c", "0", "-t", "-1", "-tb", "-1", "-n", "1")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("args", "piped"),
    [
        (["Explain\n"], "import os\nx\\n\n"),
        (["Explain\n", "-f", "{notes}"], "not read"),
        (["-p", "Explain\n", "-f", "{notes}"], ""),
        (["{model}", r"Explain\n", "-f", "{notes}", "-e"], ""),
    ],
)
def test_a_pipe_or_a_file_follows_the_prompt(monkeypatch, tmp_path, args, piped):
    notes = tmp_path / "notes.txt"
    notes.write_text("import os\nx\\n\n")
    asked = []

    def tokens(_, messages):
        asked.extend(messages)
        raise SystemExit(0)

    monkeypatch.setattr("qrt.cli.chat.respondent.Respondent.tokens", tokens)
    invoke("run", *(arg.format(notes=notes, model=EMBEDDED) for arg in args), piped=piped)
    assert asked == [{"role": "user", "content": "Explain\n\n\nimport os\nx\\n"}]


def test_a_text_to_continue_comes_from_one_place(tmp_path):
    result = invoke("complete", "-p", "a", "-f", tmp_path / "notes.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the prompt is given twice" in result.stderr
