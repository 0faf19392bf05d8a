"""What `import qrt` offers: the names, their documentation, and what the import costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

import qrt
import qrt.api
from qrt import errors
from qrt.runtime.options import GenerateKeywords, GenerateOptions
from qrt.runtime.sampler import SamplingParams

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_all_is_sorted_and_is_what_there_is():
    assert qrt.__all__ == sorted(qrt.__all__)
    tree = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(qrt.__all__) == tree | set(qrt.api.__all__) | {"__version__"}
    assert qrt.api.__all__ == sorted(qrt.api.__all__)
    assert dir(qrt) == qrt.__all__


@pytest.mark.parametrize("name", sorted(set(qrt.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(qrt, name)
    assert value.__doc__
    if inspect.isclass(value):
        public = [m for m in vars(value).items() if not m[0].startswith("_")]
        methods = [(n, m) for n, m in public if inspect.isfunction(m) or isinstance(m, property)]
        assert not [n for n, m in methods if not m.__doc__]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'qrt' has no attribute 'nothing'"):
        qrt.nothing  # noqa: B018


def test_version_is_that_of_the_package():
    assert qrt.__version__ == tomllib.loads(PYPROJECT.read_text())["project"]["version"]


def test_importing_qrt_imports_no_library():
    libraries = ("numpy", "numba", "llvmlite", "jinja2", "tokenizers", "sentencepiece", "rich")
    code = f"import sys, qrt; print([m for m in {libraries} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_keywords_of_generate_are_the_fields_they_stand_for():
    keywords = get_type_hints(GenerateKeywords)
    options = get_type_hints(GenerateOptions)
    sampling = get_type_hints(SamplingParams)
    assert set(keywords) == (set(options) | set(sampling)) - {"sampling"}
    assert {f.name for f in fields(GenerateOptions)} == set(options)
    for name in ("logit_bias", "dry_sequence_breakers"):
        keywords.pop(name), sampling.pop(name)
    assert all(keywords[n] == {**options, **sampling}[n] for n in keywords)
