"""Renders untrusted Jinja templates, keeping account of time, memory, output and origin.

Jinja's immutable sandbox keeps a template away from Python's internals but not from the machine's
time and memory. Here every statement and operator looks at the clock, every value that a template
makes is weighed before or as it is made, and only filters and methods of known cost exist. That
gives good errors; the limits that hold without exception are those of the process around it
(qrt.text.chat_worker). Texts are Traced, so that what the template wrote can be told from the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sequence, ValuesView
from functools import update_wrapper
from itertools import count
from string import Formatter
from types import GeneratorType
from typing import Any, Final

import jinja2
from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.tests import TESTS

from qrt.errors import TemplateError
from qrt.text.chat_budget import Budget
from qrt.text.chat_helpers import FILTERS_OF_OURS, FUNCTIONS
from qrt.text.chat_limits import Limits
from qrt.text.chat_origin import joined, own, traced

_MAX_SCAN: Final = 1 << 28  # characters compared in one call, at worst
_FIELD_WIDTH: Final = 1000
_JSON_DEPTH: Final = 4  # in items' weights
_WIDE = re.compile(r"\d{4}|\*")
_WIDE_FIELD = re.compile(r"%[^%a-zA-Z]*?(?:\d{4}|\*)")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEPT_FILTERS = _names(
    "abs capitalize count d default dictsort e escape first float forceescape format groupby"
    " indent int items last length list lower map max min reject rejectattr reverse round"
    " select selectattr sort string title trim unique upper"
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
_TAKING_TEXTS = _names("join replace")
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

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.value, str):
            self.write(f"environment.own({node.value!r})")
        else:
            super().visit_Const(node, frame)

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"environment.own({super()._output_const_repr(group)})"

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


class _Formatter(SandboxedFormatter):
    """`'...'.format(...)`, which knows the origin of each part."""

    def vformat(self, pattern: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        if "0" in traced(pattern).own:
            return super().vformat(pattern, args, kwargs)
        parts: list[str] = []
        numbers = count()
        for literal, field, spec, conversion in self.parse(pattern):
            parts.append(own(literal))
            if field is None:
                continue
            value, _ = self.get_field(field or str(next(numbers)), args, kwargs)
            value = self.convert_field(value, conversion)
            is_whole = isinstance(value, str) and not spec
            parts.append(value if is_whole else self.format_field(value, spec or ""))
        return joined(parts)


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one render (or compilation) within `budget`."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(("+", "*", "**", "%"))
    concat = staticmethod(joined)
    own = staticmethod(own)

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
        filters = {**{name: FILTERS[name] for name in _KEPT_FILTERS}, **FILTERS_OF_OURS}
        self.filters = {name: self._guarded(name, f) for name, f in filters.items()}
        tests: Mapping[str, Any] = dict(TESTS)
        self.tests = {name: self._guarded(name, test) for name, test in tests.items()}

    def concatenated(self, parts: tuple[Any, ...]) -> str:
        """`a ~ b ~ ...`."""
        texts = [self.budget.text(part) for part in parts]
        self.budget.check(sum(map(len, texts)))
        return self.budget.text(joined(texts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self._check_operands(operator, left, right)
        return self.budget.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.budget.tick()
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            args = self._checked_args(obj.__name__, owner, args)
            if obj.__name__ in _TAKING_TEXTS:
                obj = getattr(traced(owner), obj.__name__)
        return self.budget.made(super().call(context, obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, allowed in _METHODS.items():
            if isinstance(obj, kind):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        if value.__name__ != "format":
            return self.unsafe_undefined(value.__self__, value.__name__)
        pattern = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            self._check_format(pattern, "{", (args, kwargs))
            return _Formatter(self).vformat(pattern, args, kwargs)

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
        if mark == "{":
            specs = (spec for _, _, spec, _ in Formatter().parse(pattern) if spec)
            too_wide = any("{" in spec or _WIDE.search(spec) for spec in specs)
        else:
            too_wide = (_WIDE if "%(" in pattern else _WIDE_FIELD).search(pattern) is not None
        if too_wide:
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
            self.budget.check(max(map(abs, numbers)) << 16)
        elif name == "tojson":
            gap = max(map(_longest, (*args[1:], *kwargs.values())), default=0)
            self.budget.check(self.budget.weigh(args[0]) * gap * _JSON_DEPTH)

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


def _longest(option: object) -> int:
    """The most characters that an indentation or separators can put in one place."""
    if isinstance(option, str):
        return len(option)
    if isinstance(option, list | tuple):
        return max(map(_longest, option), default=0)
    return option if isinstance(option, int) else 0


class CompiledTemplate:
    """A template, compiled once and rendered any number of times."""

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

    def render(self, variables: Mapping[str, Any], budget: Budget | None = None) -> str:
        """The text that the template makes of `variables`. Raises TemplateError."""
        budget = budget or Budget(self._limits)
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
            return joined(pieces)
        except TemplateError:
            raise
        except RecursionError:
            raise TemplateError("the chat template calls itself without end") from None
        except MemoryError:
            raise TemplateError("the chat template needs too much memory") from None
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template failed: {error}") from None
        except Exception as error:
            kind = type(error).__name__
            raise TemplateError(f"the chat template failed: {kind}: {error}") from None


def _check_version() -> None:
    """Jinja before 3.1.6 has known ways out of the sandbox."""
    version = tuple(int(part) for part in re.findall(r"\d+", jinja2.__version__)[:3])
    if version < (3, 1, 6):
        raise TemplateError(
            f"Jinja2 {jinja2.__version__} is installed; chat templates need 3.1.6 or newer:"
            " pip install --upgrade jinja2"
        )
