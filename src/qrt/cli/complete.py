"""`qrt complete`: a model continues a text."""

from __future__ import annotations

from qrt.cli.arguments import only_model, only_name, prompt_from
from qrt.cli.flags import (
    AnswerLoadFlags,
    EscapeFlag,
    FileFlag,
    ModelArgument,
    ModelFlag,
    PromptFlag,
    PullFlag,
    RemoteFlags,
    TimingsFlag,
)
from qrt.cli.generate_flags import GenerateFlags
from qrt.cli.loading import loaded, recommended_line
from qrt.cli.output import Shown
from qrt.cli.single import print_answer
from qrt.errors import InputError


def complete(
    load: AnswerLoadFlags,
    generate: GenerateFlags,
    remote: RemoteFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    prompt: PromptFlag = None,
    file: FileFlag = None,
    escape: EscapeFlag = False,
    timings: TimingsFlag = False,
    yes: PullFlag = False,
) -> None:
    """Continue a text.

    The text of -p, -f or a pipe goes to the model as it stands, without a chat template.
    """
    name = only_name(model, model_flag)
    path = None if remote.is_asked_for else only_model(model, model_flag, yes=yes)
    text = prompt_from(text=None, flag=prompt, file=file, escape=escape)
    if text is None:
        raise InputError("there is no prompt; give -p TEXT or -f FILE, or pipe it in")
    if remote.is_asked_for:
        from qrt.cli.asking import completed

        completed(remote, name, load, text, generate.keywords(), timings=timings)
        return
    with loaded(path, load) as ready:
        keywords = generate.keywords()
        stream = ready.stream(text, **keywords)
        recommended = recommended_line(ready, keywords)
        shown = Shown(plain=True, timings=timings)
        print_answer(stream, ready.info.n_ctx, shown, recommended, closing_line=False)
