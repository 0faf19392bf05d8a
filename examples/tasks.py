"""Generations in an event loop: tasks share every step, and one that takes too long is cancelled.

Run it with python examples/tasks.py [MODEL.gguf].
"""

import asyncio
import sys

import qrt

NAMES = ("math.gcd", "os.getcwd", "shutil.copy")


async def ask(model: qrt.Model, name: str) -> str:
    """The answer to one question."""
    messages = [{"role": "user", "content": f"What does {name} do?"}]
    return str(await model.achat(messages, max_tokens=100, temperature=0))


async def main(model: qrt.Model) -> None:
    """Asks all at once, then gives up on a text without end."""
    for answer in await asyncio.gather(*(ask(model, name) for name in NAMES)):
        print(answer)
    n_tokens = 0
    try:
        async with asyncio.timeout(0.2):
            while True:
                async for _ in model.astream("def ", ignore_eos=True, context_shift=True):
                    n_tokens += 1
    except TimeoutError:
        print("cancelled" if n_tokens else "too slow for a token")


with qrt.load(*sys.argv[1:]) as model:
    asyncio.run(main(model))
