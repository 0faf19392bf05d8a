"""Every error that qrt raises for something a person can put right.

    QrtError                    exit code
    +-- InputError                  2      an argument, prompt or message is wrong
    |   +-- ContextFullError        2      the prompt or the conversation does not fit n_ctx
    |   +-- TemplateError           2      the chat template failed or broke its limits
    +-- ModelError                  3      the model file cannot be used
    |   +-- GGUFError               3      not a GGUF file, truncated or inconsistent
    |   +-- ArchError               3      unknown architecture; missing, misshapen or unused tensor
    |   +-- VocabError              3      the vocabulary in the file is unusable
    +-- BackendError                3      this machine cannot run what was asked for

A message is one line: what is wrong, where, expected, got, what to do.
"""


class QrtError(Exception):
    """Base of all errors caused by input, files or the machine; the CLI returns `exit_code`."""

    exit_code = 2


class InputError(QrtError):
    """An argument, a prompt or a message is wrong."""


class ContextFullError(InputError):
    """The prompt, or the conversation so far, does not fit the context window."""


class TemplateError(InputError):
    """The chat template is invalid, failed on these messages, or exceeded its limits."""


class ModelError(QrtError):
    """The model file cannot be used."""

    exit_code = 3


class GGUFError(ModelError):
    """The file is not a GGUF file, is truncated, or contradicts itself."""


class ArchError(ModelError):
    """The architecture is unknown, or its tensors or hyperparameters are not as it needs them."""


class VocabError(ModelError):
    """The vocabulary in the file is unusable."""


class BackendError(QrtError):
    """This machine cannot run what was asked for."""

    exit_code = 3
