"""A conversation: the session keeps what it has computed, so that each turn pays for its own text.

Run it with python examples/chat.py [MODEL.gguf].
"""

import sys

import qrt

QUESTIONS = ("What does os.path.join do?", "What does str.split do?")

with qrt.load(*sys.argv[1:]) as model, model.session() as session:
    messages: list[dict[str, str]] = []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        answer = session.chat(messages, max_tokens=100, temperature=0)
        messages.append({"role": "assistant", "content": answer.text})
        cached = answer.timings.n_cached_tokens
        print(f"> {question}\n{answer}\n({answer.n_prompt_tokens} tokens, {cached} kept)\n")
