"""Renders untrusted Jinja templates within limits of time, memory and output.

Jinja's immutable sandbox keeps a template away from Python's internals but not from the machine's
time and memory. Here every statement and operator looks at the clock, every value that a template
makes is weighed before or as it is made, and only filters and methods of known cost exist; so no
step takes long, and a render ends soon after its deadline without a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, KeysView, Mapping, ValuesView
from functools import update_wrapper
from types import GeneratorType
from typing import Any, Final

import jinja2
from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from qrt.errors import TemplateError
from qrt.text.chat_budget import Budget, Limits
from qrt.text.chat_helpers import FUNCTIONS, JSON_FILTERS

_MAX_SCAN: Final = 1 << 28  # characters compared in one call, at worst
_FIELD_WIDTH: Final = 1000
_JSON_DEPTH: Final = 4  # in items' weights
_WIDE_FIELD = re.compile(r"\d{4,}|\*|:[^}]*\{")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEPT_FILTERS = _names(
    "abs capitalize count d default dictsort e escape first float forceescape format groupby"
    " indent int items join last length list lower map max min reject rejectattr replace reverse"
    " round safe select selectattr sort string title trim unique upper"
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: _names(
        "capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal"
        " isdigit islower isnumeric isspace istitle isupper join lower lstrip partition"
        " removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split"
        " splitlines startswith strip swapcase title upper"
    ),
    dict: _names("get items keys values"),
    list: _names("count index"),
    tuple: _names("count index"),
    int: frozenset(),
    float: frozenset(),
    bytes: frozenset(),
    KeysView: frozenset(),
    ItemsView: frozenset(),
    ValuesView: frozenset(),
}
_ITERATED = (GeneratorType, range, KeysView, ItemsView, ValuesView)
_SLOW_SCANS = _names("lstrip rfind rindex rpartition rsplit rstrip strip")


class _Generator(CodeGenerator):
    """Puts a step before every statement and weighs what expressions make."""

    def blockvisit(self, nodes_: Any, frame: Frame) -> None:
        for node in nodes_:
            data = 0
            if isinstance(node, nodes.Output):
                data = sum(len(n.data) for n in node.nodes if isinstance(n, nodes.TemplateData))
            self.writeline(f"environment.budget.tick({4 * data})", node)
            super().blockvisit([node], frame)
        if not nodes_:
            super().blockvisit(nodes_, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._weighed(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._weighed(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._weighed(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self._weighed(super().visit_Compare, node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._weighed(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _weighed(self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.budget.made(")
        visit(node, frame)
        self.write(")")


class _GenerationTag(Extension):
    """`{% generation %}`, which marks for training what the assistant says: only its body here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one render (or compilation) within `budget`."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[LoopControlExtension, _GenerationTag],
            optimized=False,
            finalize=_finalize,
            cache_size=0,
        )
        self.budget = budget
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.globals.update(FUNCTIONS)
        filters = {**{name: FILTERS[name] for name in _KEPT_FILTERS}, **JSON_FILTERS}
        self.filters = {name: self._guarded(name, f) for name, f in filters.items()}
        tests: Mapping[str, Any] = dict(TESTS)
        self.tests = {name: self._guarded(name, test) for name, test in tests.items()}

    def concatenated(self, parts: tuple[Any, ...]) -> str:
        """`a ~ b ~ ...`."""
        texts = [self.budget.text(part) for part in parts]
        self.budget.check(sum(map(len, texts)))
        return self.budget.text("".join(texts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self._check_operands(operator, left, right)
        return self.budget.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.budget.tick()
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            args = self._checked_args(obj.__name__, owner, args)
        return self.budget.made(super().call(context, obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, allowed in _METHODS.items():
            if isinstance(obj, kind):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None or value.__name__ != "format":
            return wrapped and self.unsafe_undefined(value.__self__, value.__name__)
        pattern = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            self._check_format(pattern, "{", (args, kwargs))
            return wrapped(*args, **kwargs)

        return checked

    def _check_operands(self, operator: str, left: Any, right: Any) -> None:
        check = self.budget.check
        if operator == "*":
            for value, count in ((left, right), (right, left)):
                if not isinstance(count, int):
                    continue
                if isinstance(value, str | list | tuple):
                    check(len(value) * count)
                elif isinstance(value, int):
                    check((value.bit_length() + count.bit_length()) << 6)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            check((left.bit_length() * right) << 6)
        elif operator == "%" and isinstance(left, str):
            self._check_format(left, "%", right)

    def _check_format(self, pattern: str, mark: str, values: object) -> None:
        if _WIDE_FIELD.search(pattern):
            raise TemplateError("the chat template formats with a field that is too wide")
        weight = self.budget.weigh(values) + _FIELD_WIDTH
        self.budget.check(len(pattern) + pattern.count(mark) * weight)

    def _checked_args(self, method: str, text: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        check = self.budget.check
        if method == "replace" and len(args) >= 2 and all(isinstance(a, str) for a in args[:2]):
            check(len(text) + (text.count(args[0]) + 1) * len(args[1]))
        elif method == "join" and args:
            items = self.budget.listed(args[0])
            check(self.budget.weigh(items) + len(items) * len(text))
            return (items,)
        elif method in _SLOW_SCANS and args and isinstance(args[0], str):
            check(len(text) * len(args[0]) * self.budget.limits.value_weight // _MAX_SCAN)
        return args

    def _check_filter(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse what would be too much for filters whose result can outgrow their arguments."""
        texts = [a for a in (*args, *kwargs.values()) if isinstance(a, str)]
        numbers = [a for a in (*args[1:], *kwargs.values()) if isinstance(a, int)]
        if name == "replace" and len(texts) >= 3:
            self._checked_args("replace", texts[0], (texts[1], texts[2]))
        elif name == "trim" and len(texts) >= 2:
            self._checked_args("strip", texts[0], (texts[1],))
        elif name == "indent" and texts:
            width = max([*numbers, *map(len, texts[1:]), 4])
            self.budget.check(len(texts[0]) + (texts[0].count("\n") + 1) * width)
        elif name == "format" and texts:
            self._check_format(texts[0], "%", (args, dict(kwargs)))
        elif name == "round" and numbers:
            self.budget.check(max(numbers) << 16)
        elif name == "tojson" and numbers:
            self.budget.check(self.budget.weigh(args[0]) * max(numbers) * _JSON_DEPTH)

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.budget.tick()
            args = tuple(self.budget.listed(a) if isinstance(a, _ITERATED) else a for a in args)
            if name == "join":
                self._check_join(args, kwargs)
            elif name in ("string", "tojson", "escape", "e", "forceescape"):
                self.budget.weigh(args[-1] if name != "tojson" else args[0])
            self._check_filter(name, args, kwargs)
            return self.budget.made(function(*args, **kwargs))

        return update_wrapper(guarded, function)

    def _check_join(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        items, *rest = args[1:]  # the first is Jinja's evaluation context
        glue = rest[0] if rest else kwargs.get("d", "")
        if isinstance(items, list | tuple | str):
            self.budget.check(self.budget.weigh(items) + len(items) * len(str(glue)))


@pass_context
def _finalize(context: Context, value: object) -> str:
    sandbox = context.environment
    assert isinstance(sandbox, Sandbox)
    return sandbox.budget.text(value)


class CompiledTemplate:
    """A template, compiled once and rendered any number of times. Thread-safe."""

    def __init__(self, source: str, limits: Limits) -> None:
        """Raises TemplateError if the template is too long or not valid Jinja."""
        _check_version()
        size = len(source.encode("utf-8", "replace"))
        if size > limits.source_bytes:
            raise TemplateError(
                f"the chat template has {size} bytes; at most {limits.source_bytes} are allowed"
            )
        self._limits = limits
        try:
            self._code = Sandbox(Budget(limits)).compile(source, filename="chat template")
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"the chat template is not valid Jinja, line {error.lineno}: {error.message}"
            ) from None
        except (RecursionError, MemoryError, SyntaxError, ValueError):
            raise TemplateError("the chat template is nested too deeply to compile") from None

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text that the template makes of `variables`. Raises TemplateError."""
        budget = Budget(self._limits)
        sandbox = Sandbox(budget)
        template = jinja2.Template.from_code(sandbox, self._code, sandbox.globals)
        pieces: list[str] = []
        left = self._limits.output_chars
        try:
            for piece in template.root_render_func(template.new_context(dict(variables))):
                left -= len(piece)
                if left < 0:
                    raise TemplateError(
                        f"the chat template writes more than {self._limits.output_chars} characters"
                    )
                pieces.append(piece)
        except TemplateError:
            raise
        except RecursionError:
            raise TemplateError("the chat template calls itself without end") from None
        except Exception as error:
            raise TemplateError(f"the chat template failed: {_reason(error)}") from None
        return "".join(pieces)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {text}"


def _check_version() -> None:
    """Jinja before 3.1.6 has known ways out of the sandbox."""
    version = tuple(int(part) for part in re.findall(r"\d+", jinja2.__version__)[:3])
    if version < (3, 1, 6):
        raise TemplateError(
            f"Jinja2 {jinja2.__version__} is installed; chat templates need 3.1.6 or newer:"
            " pip install --upgrade jinja2"
        )
