"""Replies as models of each family write them, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass

PARIS = '{"city": "Paris", "days": 2}'
TEMPLATES = {
    "harmony": "{{ tools }}<|start|><|channel|><|message|>",
    "gemma4": "{{ tools }}<|tool_call>",
    "kimi": "{{ tools }}<|im_middle|>",
    "deepseek": "{{ tools }}<｜tool▁calls▁begin｜>",
    "deepseek-dsml": "{{ tools }}<｜DSML｜function_calls>",
    "mistral": "{{ tools }}[TOOL_CALLS]",
    "minimax": "{{ tools }}<minimax:tool_call>",
    "seed-oss": "{{ tools }}<seed:tool_call>",
    "functionary": "{{ tools }}<{start_tag}={function_name}>{parameters}<function=",
    "qwen3-coder": "{{ tools }}<tool_call><function=",
    "glm": "{{ tools }}<tool_call><arg_key>",
    "lfm2": "{{ tools }}<|tool_call_start|>",
    "olmo3": "{{ tools }}<function_calls>",
    "apertus": "{{ tools }}<|tools_prefix|>",
    "solar": "{{ tools }}<|tool_call:begin|>",
    "gigachat": "{{ tools }}<|function_call|>",
    "command-r": "{{ tools }}<|START_ACTION|>",
    "phi4": "{{ tools }}<|tool_call|>",
    "nemotron": "{{ tools }}<TOOLCALL>",
    "jamba": "{{ tools }}<tool_calls>",
    "internlm2": "{{ tools }}<|action_start|>",
    "hermes": "{{ tools }}<tool_call>",
    "llama3": "{{ tools }}<|python_tag|>",
    "generic": "{{ messages }}",
}


@dataclass(frozen=True)
class Case:
    """A reply, what is in it, and how its vocabulary has the marks."""

    family: str
    reply: str
    parts: list[tuple[str, ...]]
    control: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


def call(arguments: str = PARIS, name: str = "get_weather", id_: str = "0") -> tuple[str, ...]:
    return ("call", name, arguments, id_)


HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>")
HARMONY_ENDS = ("<|call|>", "<|return|>")
GEMMA = ("<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<channel|>")
KIMI = (
    *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>"),
    *("<|tool_call_argument_begin|>", "<|tool_call_end|>"),
)
DEEPSEEK = (
    *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>"),
    *("<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
)
QWEN = ("<tool_call>", "</tool_call>", "<think>", "</think>")
HERMES_CALL = '<tool_call>\n{"name": "get_weather", "arguments": ' + PARIS + "}\n</tool_call>"

CASES = [
    Case(
        "functionary",
        "I look. <function=get_weather>" + PARIS + "</function><function=now>{}</function>",
        [("text", "I look. "), call(), call("{}", "now", "1")],
    ),
    Case(
        "olmo3",
        '<function_calls>\nget_weather(city="Paris", days=2)\nnow()\n</function_calls>',
        [call(), call("{}", "now", "1")],
        shown=("<function_calls>", "</function_calls>"),
    ),
    Case(
        "olmo3",
        "I look.\n<function_calls>now()</function_calls> now(",
        [("text", "I look.\n"), call("{}", "now"), ("text", "now(")],
    ),
    Case(
        "apertus",
        '<|inner_prefix|>Hm.<|inner_suffix|><|tools_prefix|>[{"get_weather": '
        + PARIS
        + '}, {"now": {}}]<|tools_suffix|>',
        [("thought", "Hm."), call(), call("{}", "now", "1")],
        control=("<|inner_prefix|>", "<|inner_suffix|>", "<|tools_prefix|>", "<|tools_suffix|>"),
    ),
    Case(
        "solar",
        "<|tool_calls|><|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>get_weather<|tool_call:args|>"
        + PARIS
        + "<|tool_call:end|><|tool_call:begin|>b1<|tool_call:name|>now<|tool_call:args|>{}"
        "<|tool_call:end|>",
        [call(id_="a1b2c3d4e5"), call("{}", "now", "b1")],
        control=(
            *("<|tool_calls|>", "<|tool_call:begin|>", "<|tool_call:name|>"),
            *("<|tool_call:args|>", "<|tool_call:end|>"),
        ),
    ),
    Case(
        "gigachat",
        'I look.<|function_call|>{"name": "get_weather", "arguments": ' + PARIS + "}",
        [("text", "I look."), call()],
        control=("<|function_call|>",),
    ),
    Case("hermes", HERMES_CALL, [call()], shown=QWEN),
    Case(
        "hermes",
        "<think>\nHm.\n</think>\n\nI look.\n"
        + HERMES_CALL
        + '\n<tool_call>\n{"arguments": {}, "name": "now"}\n</tool_call>',
        [("thought", "\nHm.\n"), ("text", "I look.\n"), call(), call("{}", "now", "1")],
        shown=QWEN,
    ),
    Case("hermes", HERMES_CALL + "\nThat is all.", [call(), ("text", "That is all.")]),
    Case(
        "hermes",
        "<tool_call>{'name': 'get_weather', 'arguments': {'city': \"O'Hare\\n\", 'days': None}}",
        [call('{"city": "O\'Hare\\n", "days": null}')],
    ),
    Case(
        "hermes",
        '<tool_call>[{"name": "now"}, {"type": "function", "function": {"name": "now", '
        '"arguments": "{\\"a\\": 1}"}}]</tool_call>',
        [call("{}", "now"), call('{"a": 1}', "now", "1")],
    ),
    Case(
        "hermes",
        '<tool_call>{"name": "now", "arguments": {"a": "</tool_call> <tool_call>"}}</tool_call>',
        [call('{"a": "</tool_call> <tool_call>"}', "now")],
        shown=QWEN,
    ),
    Case(
        "qwen3-coder",
        'I look.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nSão "P"\n</parameter>\n'
        "<parameter=days>\n2\n</parameter>\n<parameter=units>\nnull\n</parameter>\n"
        '<parameter=where>\n{"a": [1]}\n</parameter>\n</function>\n</tool_call>',
        [
            ("text", "I look.\n\n"),
            call('{"city": "São \\"P\\"", "days": 2, "units": null, "where": {"a": [1]}}'),
        ],
        shown=QWEN,
    ),
    Case(
        "qwen3-coder",
        "<function=get_weather>\n<parameter=city>\n5\n\n</parameter>\n</function>\n"
        "<tool_call><function=now></function></tool_call>",
        [call('{"city": "5\\n"}'), call("{}", "now", "1")],
    ),
    Case(
        "seed-oss",
        "<seed:think>a</seed:think><seed:tool_call>\n<function=get_weather>\n"
        "<parameter=city>Rome</parameter>\n</function>\n</seed:tool_call>",
        [("thought", "a"), call('{"city": "Rome"}')],
    ),
    Case(
        "minimax",
        '<think>a</think>\n<minimax:tool_call>\n<invoke name="get_weather">\n'
        '<parameter name="city">Rome</parameter>\n<parameter name="days">x</parameter>\n'
        '</invoke>\n<invoke name="now">\n</invoke>\n</minimax:tool_call>',
        [("thought", "a"), call('{"city": "Rome", "days": "x"}'), call("{}", "now", "1")],
        shown=("<minimax:tool_call>", "</minimax:tool_call>"),
    ),
    Case(
        "deepseek-dsml",
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter '
        'name="city" string="true">Rome</｜DSML｜parameter>\n<｜DSML｜parameter '
        'name="days" string="false">2</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        [call('{"city": "Rome", "days": 2}')],
    ),
    Case(
        "glm",
        "<think>a</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>Rome\n</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
        "</tool_call>\n<tool_call>now\n</tool_call>",
        [("thought", "a"), call('{"city": "Rome\\n", "days": 2}'), call("{}", "now", "1")],
        shown=("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>"),
    ),
    Case(
        "llama3",
        '{"name": "get_weather", "parameters": ' + PARIS + "}",
        [call()],
        control=("<|python_tag|>",),
    ),
    Case(
        "llama3",
        '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": '
        + PARIS
        + '}; {"name": "now", "parameters": {}}',
        [call(), call("{}", "now", "1")],
        control=("<|python_tag|>",),
    ),
    Case(
        "mistral",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": ' + PARIS + ', "id": "abcdefghi"}, '
        '{"name": "now", "arguments": {}, "id": "abcdefghj"}]',
        [call(), call("{}", "now", "1")],
        control=("[TOOL_CALLS]",),
    ),
    Case(
        "mistral",
        "I look.[TOOL_CALLS]get_weather[ARGS]"
        + PARIS
        + "[TOOL_CALLS]now[CALL_ID]abcdefghj[ARGS]{}",
        [("text", "I look."), call(), call("{}", "now", "abcdefghj")],
        control=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    ),
    Case(
        "gemma4",
        '<|channel>thought\nHm.<channel|><|tool_call>call:get_weather{city:<|"|>P "a" \\\n<|"|>,'
        'days:2,where:{a:[1,true,<|"|>b<|"|>],c:north west}}<tool_call|>'
        "<|tool_call>call:now{}<tool_call|>",
        [
            ("thought", "Hm."),
            call(
                '{"city":"P \\"a\\" \\\\\\n","days":2,"where":{"a":[1,true,"b"],"c":"north west"}}'
            ),
            call("{}", "now", "1"),
        ],
        control=GEMMA,
    ),
    Case(
        "harmony",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.get_weather <|constrain|>json<|message|>" + PARIS + "<|call|>",
        [("thought", "Hm."), call()],
        control=HARMONY_ENDS,
        shown=HARMONY,
    ),
    Case(
        "harmony",
        " to=functions.now<|channel|>commentary json<|message|>{}<|end|><|start|>assistant"
        "<|channel|>commentary<|message|>So.<|end|><|start|>assistant<|channel|>final<|message|>Ok",
        [call("{}", "now"), ("thought", "So."), ("text", "Ok")],
        control=HARMONY_ENDS,
        shown=HARMONY,
    ),
    Case(
        "deepseek",
        "I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
        "<｜tool▁sep｜>get_weather\n```json\n"
        + PARIS
        + "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n"
        "{}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [("text", "I look."), call(), call("{}", "now", "1")],
        shown=DEEPSEEK,
    ),
    Case(
        "deepseek",
        "<think>a<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        + PARIS
        + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [("thought", "a"), call()],
        control=DEEPSEEK,
    ),
    Case(
        "kimi",
        "<think>a</think>I look.<|tool_calls_section_begin|><|tool_call_begin|>"
        "functions.get_weather:0<|tool_call_argument_begin|>" + PARIS + "<|tool_call_end|>"
        "<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
        "<|tool_calls_section_end|>",
        [
            ("thought", "a"),
            ("text", "I look."),
            call(id_="functions.get_weather:0"),
            call("{}", "now", "functions.now:1"),
        ],
        control=KIMI,
    ),
    Case(
        "lfm2",
        "<|tool_call_start|>[get_weather(city='Paris', days=2), now()]<|tool_call_end|>Done.",
        [call(), call("{}", "now", "1"), ("text", "Done.")],
        control=("<|tool_call_start|>", "<|tool_call_end|>"),
    ),
    Case(
        "command-r",
        "<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "7", "tool_name": "get_weather", "parameters": ' + PARIS + "}\n]"
        "<|END_ACTION|>",
        [("thought", "a"), call(id_="7")],
        control=("<|START_ACTION|>", "<|END_ACTION|>", "<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    Case(
        "phi4",
        '<|tool_call|>[{"name": "get_weather", "arguments": ' + PARIS + "}]<|/tool_call|>",
        [call()],
        control=("<|tool_call|>", "<|/tool_call|>"),
    ),
    Case(
        "nemotron",
        '<TOOLCALL>[{"name": "get_weather", "arguments": ' + PARIS + "}]</TOOLCALL>",
        [call()],
    ),
    Case(
        "jamba",
        '<tool_calls>[\n{"name": "get_weather", "arguments": ' + PARIS + "}\n]</tool_calls>",
        [call()],
    ),
    Case(
        "internlm2",
        'I look.<|action_start|><|plugin|>\n{"name": "get_weather", "parameters": '
        + PARIS
        + "}<|action_end|>\n",
        [("text", "I look."), call()],
        control=("<|action_start|>", "<|action_end|>", "<|plugin|>"),
    ),
    Case("generic", HERMES_CALL, [call()]),
    Case("generic", '\n{"name": "get_weather", "arguments": ' + PARIS + "}\n", [call()]),
    Case(
        "generic",
        'So:\n```json\n{"name": "get_weather", "arguments": ' + PARIS + "}\n```\n",
        [("text", "So:\n"), call()],
    ),
    Case(
        "generic",
        '```tool_code\nprint(get_weather("Paris", 2))\n```',
        [call()],
    ),
    Case("generic", "[get_weather(city='Paris', days=2), now()]", [call(), call("{}", "now", "1")]),
]
NAMES = [f"{i}-{case.family}" for i, case in enumerate(CASES)]
