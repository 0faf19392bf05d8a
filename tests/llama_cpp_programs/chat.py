"""Talks with whoever types, until the input ends."""

import sys

from llama_cpp import ChatCompletionMessage, Llama

llm = Llama(model_path=sys.argv[1], verbose=False)
messages = [ChatCompletionMessage(role="user", content=sys.stdin.readline())]
while messages[-1]["content"]:
    answer = llm.create_chat_completion(
        messages,
        temperature=0.0,
        top_p=0.95,
        top_k=40,
        stream=False,
        stop=[],
        max_tokens=128,
        repeat_penalty=1.0,
    )
    messages.append(answer["choices"][0]["message"])
    print(messages[-1]["content"])
    messages.append(ChatCompletionMessage(role="user", content=sys.stdin.readline()))
