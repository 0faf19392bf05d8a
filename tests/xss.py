"""Two hundred texts that would run code in a page which took them for markup."""

from __future__ import annotations

from itertools import product

_RUN = "window.__x=1"

_MARKUP = (
    "<script>{run}</script>",
    "<ScRiPt>{run}</sCrIpT>",
    "<script src=data:,{run}></script>",
    "<script/x>{run}</script>",
    "<img src=x onerror={run}>",
    '<img src="x" onerror="{run}">',
    "<img/src=x/onerror={run}>",
    "<img src=x:x onerror\n=\n{run}>",
    "<svg onload={run}>",
    "<svg><script>{run}</script></svg>",
    "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:{run}'><text y=20>go</text></a></svg>",
    "<math><maction actiontype=statusline xlink:href=javascript:{run}>go</maction></math>",
    "<iframe src=javascript:{run}></iframe>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>",
    "<object data=javascript:{run}></object>",
    "<embed src=javascript:{run}>",
    "<body onload={run}>",
    "<details open ontoggle={run}>go</details>",
    "<video><source onerror={run}></video>",
    "<audio src=x onerror={run}>",
    "<input autofocus onfocus={run}>",
    "<select autofocus onfocus={run}></select>",
    "<textarea autofocus onfocus={run}></textarea>",
    "<marquee onstart={run}>go</marquee>",
    "<form action=javascript:{run}><button>go</button></form>",
    "<button formaction=javascript:{run}>go</button>",
    "<a href=javascript:{run}>go</a>",
    "<base href=javascript:{run}//>",
    "<link rel=stylesheet href=data:text/css,*{{}}>",
    "<meta http-equiv=refresh content='0;url=javascript:{run}'>",
    "<style>@import 'javascript:{run}';</style>",
    "<div style=\"background:url('javascript:{run}')\">go</div>",
    "<template><script>{run}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={run}>'></noscript>",
    "<x onclick={run} autofocus tabindex=1 onfocus={run}>go</x>",
    "--><script>{run}</script>",
    "]]><script>{run}</script>",
    "</textarea><script>{run}</script>",
    "</title><script>{run}</script>",
    '"><script>{run}</script>',
    "'><img src=x onerror={run}>",
    '" autofocus onfocus={run} x="',
    "&lt;script&gt;{run}&lt;/script&gt;",
    "&#60;script&#62;{run}&#60;/script&#62;",
    "\\u003cscript\\u003e{run}\\u003c/script\\u003e",
    "<scr\0ipt>{run}</script>",
    "<<script>{run}//<</script>",
    "${{{run}}}",
    "{{{{constructor.constructor('{run}')()}}}}",
    "<img src=x onerror=&#119;indow.__x=1>",
    "<p style=animation-name:x onanimationend={run}>go</p>",
    "__proto__",
    "constructor",
)
_ADDRESSES = (
    "javascript:{run}",
    "JaVaScRiPt:{run}",
    "java\tscript:{run}",
    "java&#10;script:{run}",
    "&#106;avascript:{run}",
    " javascript:{run}",
    "\x01javascript:{run}",
    "javascript&colon;{run}",
    "javascript://example.org/%0a{run}",
    "data:text/html,<script>{run}</script>",
    "data:image/svg+xml,<svg onload={run}>",
    "vbscript:{run}",
    "blob:{run}",
    "file:///etc/passwd",
    '//example.org/" onmouseover="{run}',
    'https://example.org/" onmouseover="{run}',
    "https://example.org/'onclick='{run}",
    "https:javascript:{run}",
)
_LINKS = (
    "[go]({})",
    "![go]({})",
    "[go](<{}>)",
    "<{}>",
    "[![go]({})]({})",
    "[<img src=x onerror=window.__x=1>]({})",
    '[go]({} "onclick=window.__x=1")',
)
_FRAMES = (
    "```{}\ncode\n```",
    "```\n{}\n```",
    "`{}`",
    "# {}",
    "> {}",
    "- [x] {}",
    "| {} |\n|---|\n| {} |",
    "**{}**",
    "${}$",
    "~~~html\n{}\n~~~",
)

_markup = [text.format(run=_RUN) for text in _MARKUP]
_links = [
    link.replace("{}", address.format(run=_RUN)) for link, address in product(_LINKS, _ADDRESSES)
]
_framed = [
    frame.replace("{}", _markup[3 * i + j]) for i, frame in enumerate(_FRAMES) for j in (0, 7)
]

STRINGS = (*_markup, *_framed, *_links)[:200]
