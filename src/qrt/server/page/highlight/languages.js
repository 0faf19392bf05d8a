// Languages as tables: what a token looks like, and which words stand out.

const words = (text) => new Set(text.split(/\s+/).filter(Boolean));

const DOUBLE = ["string", String.raw`"(?:\\[^]|[^"\\\n])*"?`];
const SINGLE = ["string", String.raw`'(?:\\[^]|[^'\\\n])*'?`];
const BACKTICK = ["string", String.raw`\`(?:\\[^]|[^\`\\])*\`?`];
const NUMBER = ["number", String.raw`\b(?:0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w*`];
const WORD = ["word", String.raw`[A-Za-z_$][\w$]*`];
const SLASHES = ["comment", String.raw`//[^\n]*`];
const STARS = ["comment", String.raw`/\*[^]*?(?:\*/|$)`];
const HASH = ["comment", String.raw`#[^\n]*`];
const DASHES = ["comment", String.raw`--[^\n]*`];
const SEMICOLON = ["comment", String.raw`;[^\n]*`];
const TRIPLE = ["string", String.raw`[rRbBfFuU]{0,2}(?:"""(?:\\[^]|[^])*?(?:"""|$)|'''(?:\\[^]|[^])*?(?:'''|$))`];
const AT = ["meta", String.raw`@[\w.]+`];
const CHAR = ["string", String.raw`'(?:\\.[^'\n]{0,8}|[^'\\\n])'`];
const VARIABLE = ["meta", String.raw`\$(?:\w+|\{[^}\n]*\}|[?!#@*$])`];

const C_RULES = [SLASHES, STARS, DOUBLE, CHAR, ["meta", String.raw`#[ \t]*\w+`], NUMBER, WORD];
const C_WORDS =
  "break case const continue default do else enum extern for goto if inline register restrict return sizeof static struct switch typedef union volatile while";
const C_TYPES = "bool char double float int long short signed unsigned void size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t";
const JS_WORDS =
  "async await break case catch class const continue debugger default delete do else export extends finally for from function get if import in instanceof let new of return set static super switch this throw try typeof var void while with yield";

const MARKUP = [
  ["comment", String.raw`<!--[^]*?(?:-->|$)`],
  ["meta", String.raw`<![^>]*>?`],
  ["keyword", String.raw`</?[A-Za-z][\w:.-]*|/?>`],
  ["string", String.raw`=\s?(?:"[^"]*"?|'[^']*'?)`],
  ["constant", String.raw`&[#\w]{1,12};`],
];

export const LANGUAGES = {
  python: {
    rules: [TRIPLE, ["string", String.raw`[rRbBfFuU]{1,2}(?:"(?:\\[^]|[^"\\\n])*"?|'(?:\\[^]|[^'\\\n])*'?)`], DOUBLE, SINGLE, HASH, AT, NUMBER, WORD],
    keyword: words("and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try type while with yield"),
    type: words("bool bytearray bytes complex dict float frozenset int list object set str tuple"),
    constant: words("True False None self cls Ellipsis NotImplemented"),
  },
  javascript: {
    rules: [SLASHES, STARS, DOUBLE, SINGLE, BACKTICK, AT, NUMBER, WORD],
    keyword: words(JS_WORDS),
    type: words("Array Boolean Date Error Map Number Object Promise RegExp Set String Symbol"),
    constant: words("true false null undefined NaN Infinity"),
  },
  typescript: {
    rules: [SLASHES, STARS, DOUBLE, SINGLE, BACKTICK, AT, NUMBER, WORD],
    keyword: words(`${JS_WORDS} abstract as declare enum implements infer interface is keyof module namespace private protected public readonly satisfies type`),
    type: words("any bigint boolean never number object string symbol unknown void Array Promise Record Partial Map Set"),
    constant: words("true false null undefined NaN Infinity"),
  },
  json: {
    rules: [["meta", String.raw`"(?:\\[^]|[^"\\\n])*"(?=[ \t]*:)`], DOUBLE, NUMBER, WORD],
    constant: words("true false null"),
  },
  bash: {
    rules: [HASH, DOUBLE, ["string", "'[^']*'?"], VARIABLE, ["constant", String.raw`(?<=\s)--?[A-Za-z][\w-]*`], NUMBER, ["word", String.raw`[A-Za-z_][\w-]*`]],
    keyword: words("case do done elif else esac export fi for function if in local return select set shift source then until while"),
    type: words("alias cat cd chmod cp curl docker echo exit find git grep kill ls make mkdir mv npm pip printf python python3 qrt rm sed ssh sudo tar test touch wget"),
  },
  c: { rules: C_RULES, keyword: words(C_WORDS), type: words(C_TYPES), constant: words("NULL true false") },
  cpp: {
    rules: C_RULES,
    keyword: words(`${C_WORDS} auto catch class co_await co_return co_yield concept consteval constexpr constinit decltype delete explicit export final friend mutable namespace new noexcept operator override private protected public requires template this throw try typename using virtual`),
    type: words(`${C_TYPES} string vector map set pair tuple optional unique_ptr shared_ptr std`),
    constant: words("nullptr NULL true false"),
  },
  java: {
    rules: [SLASHES, STARS, DOUBLE, CHAR, AT, NUMBER, WORD],
    keyword: words("abstract assert break case catch class const continue default do else enum extends final finally for if implements import instanceof interface native new package permits private protected public record return sealed static super switch synchronized this throw throws transient try var volatile while yield"),
    type: words("boolean byte char double float int long short void String Integer Long Double Boolean Object List Map Set Optional"),
    constant: words("true false null"),
  },
  csharp: {
    rules: [SLASHES, STARS, DOUBLE, CHAR, NUMBER, WORD],
    keyword: words("abstract as async await base break case catch class const continue default delegate do else enum event explicit extern finally fixed for foreach get if implicit in init interface internal is lock namespace new operator out override params private protected public readonly record ref required return sealed set sizeof static struct switch this throw try typeof unsafe using var virtual volatile when where while yield"),
    type: words("bool byte char decimal double dynamic float int long object sbyte short string uint ulong ushort void Task List Dictionary"),
    constant: words("true false null"),
  },
  go: {
    rules: [SLASHES, STARS, DOUBLE, BACKTICK, CHAR, NUMBER, WORD],
    keyword: words("break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var"),
    type: words("any bool byte complex128 error float32 float64 int int8 int16 int32 int64 rune string uint uint8 uint16 uint32 uint64 uintptr"),
    constant: words("true false nil iota"),
  },
  rust: {
    rules: [SLASHES, STARS, DOUBLE, CHAR, ["meta", String.raw`#!?\[[^\]\n]*\]|'[a-z_]\w*|\b\w+!`], NUMBER, WORD],
    keyword: words("as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod move mut pub ref return self static struct super trait type unsafe use where while"),
    type: words("bool char f32 f64 i8 i16 i32 i64 i128 isize str u8 u16 u32 u64 u128 usize String Vec Option Result Box Rc Arc HashMap Self"),
    constant: words("true false None Some Ok Err"),
  },
  kotlin: {
    rules: [SLASHES, STARS, TRIPLE, DOUBLE, CHAR, AT, NUMBER, WORD],
    keyword: words("as break by catch class companion constructor continue data do else enum finally for fun if import in init interface internal is lateinit object open override package private protected public return sealed super suspend this throw try typealias val var when while"),
    type: words("Any Boolean Byte Char Double Float Int List Long Map Set Short String Unit"),
    constant: words("true false null"),
  },
  swift: {
    rules: [SLASHES, STARS, TRIPLE, DOUBLE, AT, NUMBER, WORD],
    keyword: words("actor as associatedtype async await break case catch class continue default defer deinit do else enum extension fallthrough fileprivate for func guard if import in init inout internal is let mutating open private protocol public repeat return self static struct subscript super switch throw throws try typealias var where while"),
    type: words("Any Array Bool Character Dictionary Double Float Int Optional Set String Void"),
    constant: words("true false nil"),
  },
  ruby: {
    rules: [HASH, DOUBLE, SINGLE, ["meta", String.raw`@{1,2}\w+|\$\w+`], ["constant", String.raw`(?<![\w:]):[A-Za-z_]\w*[?!]?`], NUMBER, WORD],
    keyword: words("alias and attr_accessor attr_reader begin break case class def defined do else elsif end ensure extend for if in include module next not or private protected public raise redo require rescue retry return self super then undef unless until when while yield"),
    constant: words("true false nil"),
  },
  php: {
    rules: [SLASHES, STARS, HASH, DOUBLE, SINGLE, ["meta", String.raw`<\?(?:php)?|\?>|\$\w+`], NUMBER, WORD],
    keyword: words("abstract and array as break case catch class clone const continue declare default do echo else elseif enum extends final finally fn for foreach function global if implements import include instanceof interface match namespace new or print private protected public readonly require require_once return static switch throw trait try use while yield"),
    type: words("bool float int iterable mixed object string void"),
    constant: words("true false null TRUE FALSE NULL"),
  },
  lua: {
    rules: [["comment", String.raw`--\[\[[^]*?(?:\]\]|$)`], DASHES, ["string", String.raw`\[\[[^]*?(?:\]\]|$)`], DOUBLE, SINGLE, NUMBER, WORD],
    keyword: words("and break do else elseif end for function goto if in local not or repeat return then until while"),
    constant: words("true false nil self"),
  },
  r: {
    rules: [HASH, DOUBLE, SINGLE, NUMBER, ["word", String.raw`[A-Za-z.][\w.]*`]],
    keyword: words("break else for function if in library next repeat return while"),
    constant: words("TRUE FALSE NULL NA Inf NaN"),
  },
  sql: {
    rules: [DASHES, STARS, ["string", "'(?:''|[^'])*'?"], DOUBLE, NUMBER, WORD],
    ignoresCase: true,
    keyword: words("add all alter and as asc begin between by case check column commit constraint create cross database default delete desc distinct drop else end exists foreign from full grant group having if in index inner insert into is join key left like limit not offset on or order outer over partition primary references returning right rollback select set table then transaction trigger union unique update using values view when where with"),
    type: words("bigint blob boolean char date decimal double float int integer json numeric real serial smallint text time timestamp uuid varchar"),
    constant: words("true false null"),
  },
  html: { rules: MARKUP },
  css: {
    rules: [STARS, DOUBLE, SINGLE, ["meta", String.raw`@[\w-]+|![\w]+`], ["constant", String.raw`#[\da-fA-F]{3,8}\b`], ["type", String.raw`--[\w-]+|[\w-]+(?=[ \t]*:[^:\n]*[;}\n])`], ["keyword", String.raw`[.#&:]{1,2}[A-Za-z][\w-]*`], ["number", String.raw`-?\b\d+(?:\.\d+)?[a-z%]*`], ["word", String.raw`[A-Za-z-]+`]],
  },
  yaml: {
    rules: [HASH, ["keyword", String.raw`[\w./-]+(?=[ \t]*:(?:\s|$))`], DOUBLE, SINGLE, ["meta", String.raw`[&*!]\w+|---`], NUMBER, WORD],
    constant: words("true false null yes no on off"),
  },
  toml: {
    rules: [HASH, SEMICOLON, ["meta", String.raw`\[\[?[^\]\n]*\]\]?(?=\s*(?:\n|$))`], ["keyword", String.raw`[\w.-]+(?=[ \t]*=)`], TRIPLE, DOUBLE, SINGLE, NUMBER, WORD],
    constant: words("true false"),
  },
  diff: {
    rules: [["meta", String.raw`(?<=^|\n)(?:@@|diff|index|---|\+\+\+)[^\n]*`], ["inserted", String.raw`(?<=^|\n)\+[^\n]*`], ["deleted", String.raw`(?<=^|\n)-[^\n]*`], ["plain", String.raw`[^\n]+`]],
  },
  makefile: { rules: [HASH, VARIABLE, ["meta", String.raw`\$\([^)\n]*\)`], ["keyword", String.raw`(?<=^|\n)[\w./%-]+(?=[ \t]*:)`], DOUBLE, SINGLE] },
  dockerfile: {
    rules: [HASH, DOUBLE, SINGLE, VARIABLE, NUMBER, WORD],
    keyword: words("ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR AS"),
  },
};

export const ALIASES = {
  py: "python", python3: "python", pycon: "python", js: "javascript", jsx: "javascript", mjs: "javascript", node: "javascript",
  ts: "typescript", tsx: "typescript", jsonc: "json", json5: "json", sh: "bash", shell: "bash", zsh: "bash", console: "bash",
  h: "c", "c++": "cpp", cc: "cpp", hpp: "cpp", cuda: "cpp", "c#": "csharp", cs: "csharp", golang: "go", rs: "rust", kt: "kotlin",
  rb: "ruby", xml: "html", svg: "html", vue: "html", scss: "css", less: "css", yml: "yaml", ini: "toml", conf: "toml", patch: "diff",
  postgresql: "sql", mysql: "sql", sqlite: "sql", make: "makefile", docker: "dockerfile",
};
