"""Names of models: none leaves its folder, and those of other tools stand for their files."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hub_server import REPO, Hub, invoke, kept
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import metadata_of, tensors_of

import qrt
from qrt.arch import build_graph
from qrt.backends.cpu.states import unit_bytes
from qrt.errors import InputError, ModelError
from qrt.formats.quants import WEIGHT_TYPES
from qrt.free_memory import FreeMemory
from qrt.hub.catalogue import KV_TOKENS, Entry, catalogue, find, runs
from qrt.hub.locate import is_known, locate
from qrt.hub.names import HubName, is_file, is_repo, parse_hub_name
from qrt.hub.quants import HubFile, choose, is_quant, models_in
from qrt.runtime.capacity import needs

ROOT = Path(__file__).parent.parent
DIGEST = "ab" * 32

TRICKS = (
    *("..", ".", "", "~", "-rf", ".hidden", "trailing.", "trailing ", " leading", "a\\b", "..\\.."),
    *(
        "c:",
        "C:\\x",
        "\\\\host\\share",
        "\\\\?\\C:\\x",
        "a:b:stream",
        "a\0b",
        "a\nb",
        "%2e%2e",
        "a%2fb",
    ),
    *(
        "．．",
        "a／b",
        "a\u202eb",
        "a\u200bb",
        "é",
        "x" * 300,
        "*",
        "a?b",
        "a|b",
        "<a>",
        '"a"',
        "$HOME",
    ),
    *("`id`", "CON", "nul", "Aux.gguf", "com1", "LPT9.txt", "con .gguf", "a;b", "a&b", "'a'"),
)
FILES = sorted(
    {
        f"{before}{trick}{after}"
        for trick in TRICKS
        for before, after in itertools.product(
            ("", "/", "a/", "../", "a/../"), ("/m-Q4_K_M.gguf", "/a/m.gguf")
        )
    }
    | {
        f"{trick}.gguf"
        for trick in ("..\\m", "c:m", "nul", "CON", "a\0", "a\n", ".", "x" * 300, "é")
    }
    | {f"m-Q4_K_M.gguf{end}" for end in ("/", "/..", ".", " ", "\0", "\\", ":x", "/.", "\n")}
)


def test_no_trick_passes_for_a_file():
    assert len(FILES) > 300
    assert [name for name in FILES if is_file(name)] == []
    assert models_in(HubFile(name, 1) for name in FILES) == []


def test_no_trick_passes_for_a_name():
    for trick in TRICKS:
        for text in (f"{trick}/m", f"o/{trick}", f"o/m:{trick}/a.gguf", f"o/m/{trick}/a.gguf"):
            with pytest.raises(InputError):
                parse_hub_name(text)
            with pytest.raises(qrt.QrtError):
                qrt.load(f"hf:{text}")


@given(st.text("abMQ4.-_ /\\:%~é\0\n", max_size=24))
def test_what_passes_stays_below_its_folder(text):
    name = f"{text}.gguf"
    if is_file(name):
        for path in (PurePosixPath(name), PureWindowsPath(name)):
            assert not path.is_absolute()
            assert not path.drive
            assert ".." not in path.parts
            assert "/".join(path.parts) == name
    if is_repo(text):
        validate_repo_id(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("o/m", ("o/m", None, None)),
        ("o/m:Q8_0", ("o/m", None, "Q8_0")),
        ("o/m:UD-Q4_K_XL", ("o/m", None, "UD-Q4_K_XL")),
        ("o/m:a.gguf", ("o/m", "a.gguf", None)),
        ("o/m/a b/c-00001-of-00002.gguf", ("o/m", "a b/c-00001-of-00002.gguf", None)),
        ("hf:o/m:Q8_0", ("o/m", None, "Q8_0")),
        ("hf://o/m/a.gguf", ("o/m", "a.gguf", None)),
        ("hf.co/o/m:Q8_0", ("o/m", None, "Q8_0")),
        ("hf:https://hf.co/o/m", ("o/m", None, None)),
        ("HTTPS://HuggingFace.co/o/m", ("o/m", None, None)),
        ("https://huggingface.co/o/m/", ("o/m", None, None)),
        ("https://huggingface.co/o/m/tree/main", ("o/m", None, None)),
        ("https://huggingface.co/o/m/tree/main/Q8_0", ("o/m", None, "Q8_0")),
        ("https://hf.co/o/m/blob/main/a%20b.gguf#x", ("o/m", "a b.gguf", None)),
        ("https://hf.co/o/m/resolve/main/b/a.gguf?download=true", ("o/m", "b/a.gguf", None)),
        ("https://hf.co/o/m?show_file_info=b%2Fa.gguf", ("o/m", "b/a.gguf", None)),
    ],
)
def test_the_parts_of_a_name(text, parts):
    name = parse_hub_name(text)
    assert (name.repo, name.file, name.quant) == parts


@pytest.mark.parametrize(
    "rest",
    [
        *("o/m/blob/v1/a.gguf", "o/m/blob/main/README.md", "o/m/discussions", "o", ""),
        *("o/m/blob/main/..%2Fa.gguf", "o/m?show_file_info=../a.gguf", "o/m/tree/main/a/b"),
    ],
)
def test_links_that_are_no_models(rest):
    with pytest.raises(InputError):
        parse_hub_name(f"https://huggingface.co/{rest}")


def test_a_listing_full_of_tricks_is_as_good_as_empty(hub: Hub, hub_cache):
    hub.files = {name: b"x" for name in FILES if "\0" not in name}
    before = set(hub_cache.parent.rglob("*"))
    for text in (REPO, f"{REPO}:../../m-Q4_K_M.gguf", f"hf:{REPO}/../m-Q4_K_M.gguf"):
        result = invoke("pull", text)
        assert result.exit_code in (2, 3)
        assert result.stderr.count("\n") == 1
    assert (hub.downloads(), set(hub_cache.parent.rglob("*")), kept(hub_cache)) == ([], before, [])


def test_quantizations_by_name():
    names = {
        "Q8_0": "a-Q8_0.gguf",
        "Q4_K_M": "tiny.v1.0.q4_k_m.gguf",
        "UD-Q4_K_XL": "Qwen3-4B-UD-Q4_K_XL.gguf",
        "IQ4_XS": "x/IQ4_XS.gguf",
        "BF16": "m-BF16-00001-of-00002.gguf",
        "MXFP4": "gpt-oss-20b-mxfp4.gguf",
        "MXFP4_MOE": "Qwen3-30B-A3B-MXFP4_MOE.gguf",
        "NVFP4": "nvfp4.gguf",
        "TQ1_0": "TriLM-TQ1_0.gguf",
        "IQ3_XXS": "m.i1-IQ3_XXS.gguf",
        "Q8_K_XL": "m-Q8_K_XL.gguf",
        "Q4_0_4_8": "m-Q4_0_4_8.gguf",
        "Q4": "Phi-3-mini-4k-instruct-q4.gguf",
        "FP16": "Phi-3-mini-4k-instruct-fp16.gguf",
        None: "model.gguf",
    }
    files = [HubFile(name, 1) for name in names.values()]
    files.append(HubFile("m-BF16-00002-of-00002.gguf", 1))
    files += [HubFile("imatrix.gguf", 1), HubFile("lost-00001-of-00002.gguf", 1)]
    files += [HubFile("mmproj-F16.gguf", 1), HubFile("Ministral-3-8B-BF16-mmproj.gguf", 1)]
    assert {(model.quant, model.name) for model in models_in(files)} == set(names.items())
    assert {t.name for t in WEIGHT_TYPES if not is_quant(t.name)} == set()
    assert not any(map(is_quant, ("", "8b", "latest", "Q", "QX_0", "Q4_K_M-v2", "instruct")))


def test_a_repository_without_the_usual_quantization():
    for quants, taken in (
        (("Q8_0", "Q5_K_M", "F16"), "Q5_K_M"),
        (("F16", "UD-Q4_K_XL"), "UD-Q4_K_XL"),
        (("F16",), "F16"),
    ):
        models = models_in(HubFile(f"m-{quant}.gguf", 1) for quant in quants)
        assert choose(models, parse_hub_name("o/m")).quant == taken
    with pytest.raises(ModelError, match="has no Q4_K_M; choose BF16, F16"):
        choose(models_in(HubFile(f"m-{q}.gguf", 1) for q in ("F16", "BF16")), HubName("o/m"))


def test_the_catalogue():
    entries = catalogue()
    assert 60 <= len(entries) <= 90
    assert {"llama3.2:1b", "qwen3:30b", "gemma4:e4b", "gpt-oss:20b"} <= set(entries)
    for entry in entries.values():
        assert is_repo(entry.repo)
        assert is_known(entry.name)
        assert runs(entry.arch)
        assert 0 < entry.file_bytes(entry.quant) <= entry.file_bytes("Q8_0")
    for family, sizes in (("Llama3.2", "llama3.2:1b, llama3.2:3b"), ("phi", "phi3.5:3.8b, phi4")):
        with pytest.raises(InputError, match=f"size too: {sizes}"):
            locate(family)
    for text, name, quant in (
        ("mistral", "mistral:7b", None),
        ("Mistral:Q8_0", "mistral:7b", "Q8_0"),
        ("QWEN3:4b:q8_0", "qwen3:4b", "Q8_0"),
        ("devstral:latest", "devstral2:24b", None),
    ):
        entry, asked = find(text)
        assert (entry.name, asked.quant) == (name, quant)
    for text in ("lama3.2:1b", "codellama:7b", "x:1.5B-instruct-q4_K_M", "nothing:latest"):
        assert is_known(text)
    for text in ("Hello!", "hello", "note:this"):
        assert not is_known(text)
    assert (ROOT / "models" / "catalogue.toml").read_text().startswith("# Short names")


def test_memory_of_the_cache_is_that_of_the_files():
    """By hand from what the models' configurations say, in pages of 64 positions."""
    entries = catalogue()
    assert entries["qwen3:30b"].kv_bytes == 48 * 4096 * 2 * 4 * 128 * 2
    near = 1024 + 64 + 64 + 64  # the window, what is kept before it, the step's row, a page begun
    gemma = entries["gemma3:4b"].kv_bytes
    assert gemma == (5 * 4096 + 29 * near) * 2 * 4 * 256 * 2
    assert entries["glm4.7-flash:30b"].kv_bytes == 47 * 4096 * (512 + 64) * 2


@pytest.mark.parametrize("model", ["gemma3", "gemma3n", "gpt-oss", "llama"])
def test_an_entry_tells_what_info_tells(model):
    """A tiny model's cache, as an entry would give it."""
    graph = build_graph(metadata_of(model), tensors_of(model), model)
    of_all, windowed = (0, 0, 0), None
    for group in graph.states:
        mean = (group.k_width + (0 if group.v_in_k else group.v_width)) // 2
        sizes = (len(group.layers), group.n_kv_heads, mean)
        if group.window is None:
            of_all = sizes
        else:
            windowed = (*sizes, group.window)
    entry = Entry(name="m", repo="o/m", arch=model, params=1.0, kv=of_all, windowed=windowed)
    held = zip(graph.states, needs(graph.states, KV_TOKENS, 1), strict=True)
    assert entry.kv_bytes == sum(unit_bytes(group, "f16") * n for group, n in held)


def test_the_list_shows_size_memory_and_whether_it_fits_and_runs(monkeypatch):
    entries = dict(catalogue())
    entries["qwen3:4b"] = replace(entries["qwen3:4b"], arch="abacus")
    monkeypatch.setattr("qrt.hub.catalogue.catalogue", lambda: entries)
    for n_bytes, fits in ((64 * 10**9, "fits"), (10**10, "large"), (None, "30.5B-A3.3B")):
        monkeypatch.setattr("qrt.hub.offer.free_memory", lambda n=n_bytes: FreeMemory(n))
        rows = [line.split() for line in invoke("list", "--all").stdout.splitlines()]
        (row,) = (row for row in rows if row[0] == "qwen3:30b")
        assert (row[:3], row[-3:]) == (
            ["qwen3:30b", "18.7", "19.3"],
            ["30.5B-A3.3B", "Q4_K_M", "33.0"],
        )
        assert fits in row[3:5]
        (row,) = (row for row in rows if row[0] == "qwen3:4b")
        assert row[3:6] == ["cannot", "run", "yet"]
    known = {row["name"]: row for row in json.loads(invoke("list", "--all", "--json").stdout)}
    assert not known["qwen3:4b"]["runs"]
    assert known["qwen3:30b"]["memory_bytes"] > known["qwen3:30b"]["bytes"] > 18e9


def write(path, content=b"GGUF"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def manifest(*digests):
    layer = "application/vnd.ollama.image.model"
    return json.dumps({"layers": [{"mediaType": layer, "digest": d} for d in digests]}).encode()


@pytest.mark.skipif(sys.platform == "win32", reason="its home is set otherwise")
def test_what_other_tools_keep_is_found_by_name_and_never_deleted(hub_cache):
    home = hub_cache.parent / "home"
    ollama = home / ".ollama" / "models"
    blob = write(ollama / "blobs" / f"sha256-{DIGEST}")
    library = ollama / "manifests" / "registry.ollama.ai" / "library"
    for tag in ("1b", "latest"):
        write(library / "llama3.2" / tag, manifest(f"sha256:{DIGEST}"))
    write(ollama / "manifests" / "hf.co" / "o" / "m" / "Q8_0", manifest(f"sha256:{DIGEST}"))
    write(ollama / "blobs" / f"sha256-{DIGEST.upper()}")
    for i, bad in enumerate(
        ("sha256:../../../x", "sha256:" + DIGEST.upper(), "sha256:" + "0" * 64)
    ):
        write(library / "bad" / f"digest{i}", manifest(bad))
    for i, bad in enumerate((b"", b"[", b"[]", b'{"layers": [1]}', b"[" * 99999, manifest())):
        write(library / "bad" / f"json{i}", bad)
    studio = write(home / ".lmstudio" / "models" / "pub" / "repo" / "m-Q8_0.gguf")
    write(home / ".lmstudio" / "models" / "pub" / "repo" / "half-00001-of-00002.gguf")
    llama = write(home / "cache" / "llama.cpp" / "o_m_m-Q4_0.gguf")
    found = {model["name"]: model["path"] for model in json.loads(invoke("list", "--json").stdout)}
    assert found == {
        "ollama:llama3.2:1b": str(blob),
        "ollama:llama3.2:latest": str(blob),
        "ollama:hf.co/o/m:Q8_0": str(blob),
        "lmstudio:pub/repo/m-Q8_0.gguf": str(studio),
        "llamacpp:o_m_m-Q4_0.gguf": str(llama),
    }
    for name, path in found.items():
        assert is_known(name)
        assert str(locate(name)) == path
        refused = invoke("rm", name, "--yes")
        assert (refused.exit_code, Path(path).exists()) == (2, True)
        assert "deletes nothing elsewhere" in refused.stderr
    assert locate("llama3.2:1b") == locate("Llama3.2:latest") == blob
    assert is_known("llama3.2:latest")
    assert locate("nothing:here") is None
    for args in (("run", "ollama:none:1b", "hi"), ("show", "ollama:none:1b")):
        result = invoke(*args)
        assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
        assert "Ollama keeps no such model" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="it has no links for everyone")
def test_a_link_out_of_the_cache_is_not_followed_by_rm(hub_cache):
    outside = write(hub_cache.parent / "precious.gguf")
    snapshot = hub_cache / "models--owner--model-GGUF" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "m-Q4_K_M.gguf").symlink_to(outside)
    for name in (f"hf:{REPO}", snapshot / "m-Q4_K_M.gguf", f"{snapshot}/../../../../precious.gguf"):
        result = invoke("rm", name, "--yes")
        assert (result.exit_code, outside.exists()) == (2, True)
        assert "deletes nothing elsewhere" in result.stderr


def test_quantizations_of_several_revisions_are_all_there(hub_cache):
    snapshots = hub_cache / "models--owner--model-GGUF" / "snapshots"
    old, new = (snapshots / (digit * 40) for digit in "01")
    write(old.parents[1] / "refs" / "main", b"1" * 40)
    for name in ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-F16.gguf"):
        write(old / name)
    write(new / "m-Q4_K_M.gguf")
    assert locate(f"hf:{REPO}") == new / "m-Q4_K_M.gguf"
    assert locate(f"hf:{REPO}:q8_0") == locate(f"hf:{REPO}/m-Q8_0.gguf") == old / "m-Q8_0.gguf"
