"""The words of help: what a first user does, and examples of each command."""

from __future__ import annotations

from collections.abc import Mapping

FIRST_STEPS = """\
qrt runs quantized language models: a GGUF file in, text out.

  qrt run                         chat with the small model inside qrt
  qrt pull qwen3:4b               fetch a bigger one, to chat with: qrt run qwen3:4b
  qrt run FILE.gguf "A question"  one answer, from any GGUF file

`qrt --help` lists all commands, `qrt run --help` the flags of one.
"""

EXAMPLES: Mapping[str, str] = {
    "run": """\
qrt run
qrt run qwen3:4b "Why is the sky blue?"
cat notes.txt | qrt run qwen3:4b "Summarize this"
qrt run qwen3:4b -f report.md -sys "Answer in one sentence." -n 100
qrt run qwen3:4b -f letter.txt --json-schema person.json
qrt run -hf OWNER/NAME:Q4_K_M -c 8192 --temp 0.2""",
    "complete": """\
qrt complete -m model.gguf -p "def fibonacci(n):" -n 64 --temp 0
qrt complete -m model.gguf -f start.txt -r "END\"""",
    "embed": """\
qrt embed model.gguf "A text" "Another"
qrt embed model.gguf -f texts.txt -o vectors.npy
cat texts.jsonl | qrt embed model.gguf --jsonl --task document --dim 256""",
    "rerank": """\
qrt rerank model.gguf "How do I join paths?" "os.path.join" "json.dumps"
qrt rerank model.gguf "How do I join paths?" -f texts.txt --top 3""",
    "pull": """\
qrt pull qwen3:4b
qrt pull OWNER/NAME:Q8_0""",
    "search": """\
qrt search qwen3 4b
qrt search OWNER""",
    "list": """\
qrt list
qrt list --all""",
    "show": """\
qrt show qwen3:4b""",
    "rm": """\
qrt rm qwen3:4b""",
    "info": """\
qrt info model.gguf
qrt info qwen3:4b --kv-type q8_0""",
    "tokenize": """\
qrt tokenize model.gguf "Hello there"
qrt tokenize qwen3:4b --ids < text.txt""",
    "bench": """\
qrt bench model.gguf
qrt bench model.gguf -p 512 -n 64 -d 0,4096 -t 1-8*2 -o json""",
    "profile": """\
qrt profile model.gguf -d 4096
qrt profile model.gguf --plot roofline.png""",
    "perplexity": """\
qrt perplexity model.gguf -f wiki.test.raw
qrt perplexity model.gguf -f text.txt --chunks 20 --save-logits base.logits""",
    "kl": """\
qrt kl small.gguf --base large.gguf -f text.txt
qrt kl small.gguf --base base.logits""",
    "tune": """\
qrt tune
qrt tune --reset""",
    "pack": """\
qrt pack model.gguf
qrt pack model.gguf --check""",
    "app": """\
qrt app
qrt app qwen3:4b -c 8192""",
    "serve": """\
qrt serve
qrt serve qwen3:4b --port 8080
qrt serve --config models.toml --keep-alive 1h
qrt serve qwen3:4b --install-service systemd
qrt serve model.gguf --host 0.0.0.0 --api-key "$KEY" --allowed-host NAME""",
    "ps": """\
qrt ps""",
    "stop": """\
qrt stop qwen3:4b
qrt stop""",
    "doctor": """\
qrt doctor""",
}
"""Lines by the name of the command."""
