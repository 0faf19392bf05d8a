"""Every error that qrt raises for something a person can put right.

    QrtError                    exit code  HTTP status
    +-- InputError                  2         400   an argument, prompt or message is wrong
    |   +-- ContextFullError        2         400   the prompt or the conversation exceeds n_ctx
    |   +-- TemplateError           2         400   the chat template failed or broke its limits
    |   +-- BusyError               2         409   the session is generating already
    |   +-- ClosedError             2         503   the model or the session was closed
    |   +-- FullError               2         429   more generations wait than the engine takes
    |   +-- UnknownOptionError      2         400   no such option; a TypeError too
    +-- CancelledError              2         499   whoever asked for it stopped it
    +-- DeadlineError               2         504   its time was up before its first token
    +-- ModelError                  3         500   the model file cannot be used
    |   +-- MissingModelError       3         500   not on this machine; qrt pull may fetch it
    |   +-- GGUFError               3         500   not a GGUF file, truncated or inconsistent
    |   +-- ArchError               3         500   unknown architecture, wrong or unused tensor
    |   +-- VocabError              3         500   the vocabulary in the file is unusable
    |   +-- NonFiniteError          3         500   what a layer computes is not finite
    +-- BackendError                3         500   this machine cannot run what was asked for

A message is one line: what is wrong, where, expected, got, what to do.
"""


class QrtError(Exception):
    """Base of all errors caused by input, files or the machine; the CLI returns `exit_code`."""

    exit_code = 2
    http_status = 500


class InputError(QrtError):
    """An argument, a prompt or a message is wrong."""

    http_status = 400


class ContextFullError(InputError):
    """The prompt, or the conversation so far, does not fit the context window."""


class TemplateError(InputError):
    """The chat template is invalid, failed on these messages, or exceeded its limits."""


class BusyError(InputError):
    """The session is generating; it does one thing at a time."""

    http_status = 409


class ClosedError(InputError):
    """The model or the session was closed."""

    http_status = 503


class FullError(InputError):
    """More generations wait than the engine takes; ask again later."""

    http_status = 429

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        """retry_after_s: when one of those that wait has probably begun."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownOptionError(InputError, TypeError):
    """No call has an option of this name; the message says what was probably meant."""


class CancelledError(QrtError):
    """The generation was stopped by whoever asked for it."""

    http_status = 499


class DeadlineError(QrtError):
    """A generation's time was up before its first token, or a function of its caller's hung."""

    http_status = 504


class ModelError(QrtError):
    """The model file cannot be used."""

    exit_code = 3


class MissingModelError(ModelError):
    """The model is not on this machine; `qrt pull` may fetch it."""


class GGUFError(ModelError):
    """The file is not a GGUF file, is truncated, or contradicts itself."""


class ArchError(ModelError):
    """The architecture is unknown, or its tensors or hyperparameters are not as it needs them."""


class VocabError(ModelError):
    """The vocabulary in the file is unusable."""


class NonFiniteError(ModelError):
    """What a layer computes is NaN or infinite: its weights are damaged."""


class BackendError(QrtError):
    """This machine cannot run what was asked for."""

    exit_code = 3
