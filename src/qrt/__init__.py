"""qrt: quantized language models at the speed of memory.

    import qrt
    with qrt.load("model.gguf") as model:
        print(model.generate("def fibonacci(n):", max_tokens=64).text)

Names are imported when they are first used, so `import qrt` costs next to nothing.
"""

from __future__ import annotations

from qrt.errors import (
    ArchError,
    BackendError,
    BusyError,
    CancelledError,
    ClosedError,
    ContextFullError,
    DeadlineError,
    FullError,
    GGUFError,
    InputError,
    MissingModelError,
    ModelError,
    NonFiniteError,
    QrtError,
    TemplateError,
    UnknownOptionError,
    VocabError,
)

TYPE_CHECKING = False  # which checkers take for that of `typing`, without its import
if TYPE_CHECKING:
    from qrt.api import (
        ChatStream,
        Completion,
        Grammar,
        Model,
        ModelInfo,
        SamplingParams,
        Session,
        Stream,
        Timings,
        TokenRecord,
        ToolCall,
        load,
        load_tokenizer,
        show,
    )

__version__ = "0.1.0"

__all__ = [
    "ArchError",
    "BackendError",
    "BusyError",
    "CancelledError",
    "ChatStream",
    "ClosedError",
    "Completion",
    "ContextFullError",
    "DeadlineError",
    "FullError",
    "GGUFError",
    "Grammar",
    "InputError",
    "MissingModelError",
    "Model",
    "ModelError",
    "ModelInfo",
    "NonFiniteError",
    "QrtError",
    "SamplingParams",
    "Session",
    "Stream",
    "TemplateError",
    "Timings",
    "TokenRecord",
    "ToolCall",
    "UnknownOptionError",
    "VocabError",
    "__version__",
    "load",
    "load_tokenizer",
    "show",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'qrt' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module("qrt.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
