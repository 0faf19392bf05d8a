"""The memory layouts that kernels and the code that feeds them agree on. Plain data, no numba.

A record is a named tuple of byte offsets, so a kernel reads `load_i64(args + MATMUL.x)`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from typing import Any

ROW_TILE = 4
"""Rows of activations that a matmul of many rows takes at once."""

TILE_ROWS = 16
"""Rows of activations that one tile register takes."""

LINE = 64
"""One activation line: 32 quantized values of one row, their scale and sums; a cache line.

Lines of a tile of R rows lie block by block: line (block b, row r) at (b * R + r) * LINE."""


def record(name: str, fields: str) -> Any:
    """A named tuple of the byte offsets of int64 fields, and `size` behind the last."""
    names = fields.split()
    return namedtuple(name, [*names, "size"])(*range(0, 8 * len(names) + 8, 8))


def fill(layout: Any, values: dict[str, int]) -> Iterable[int]:
    """The int64 values of a record in order; every field must be given, and no other."""
    names = [name for name in layout._fields if name != "size"]
    assert set(names) == set(values), (layout, set(names) ^ set(values))
    return [values[name] for name in names]


# one activation line; low and high are the two halves of 16
Line = namedtuple("Line", "quants scale nsum nsum_low nsum_high fsum fsum_low fsum_high")
LINE_AT = Line(0, 32, 36, 40, 44, 48, 52, 56)

PAGE = 64
"""Positions in one KV page."""

SPLIT, MOST_SPLITS = 256, 32
"""Positions that attention walks before it merges what it has: one thread's share of a long row. Of
a row that sees more than so many splits they are longer, see `attention`."""

SHARED_ROWS = 16
"""A step of at most so many rows has the splits of each row shared out among threads."""

STEP = record(
    "Step",
    "cancel fault n_rows n_logits n_routed tokens positions types tables logit_rows hidden output "
    "rope scratch scales logit_scales encoded",
)
"""What changes between steps; kernels get its address.

fault: 1 + the layer whose attention was not finite, 0 for none; n_routed: rows in the tiles of all
experts, as the last Route found; tokens, positions, types, logit_rows: int32 arrays; tables: for
each state group the address of the addresses of each row's int32 table; hidden: float32 rows from
another part of the model; output: where the graph's output goes; rope: float32 cos and sin,
(n_specs, n_rows, 2, rope_dim / 2) at the offset in the op's record; scratch: per-thread working
memory, `SCRATCH` bytes each; scales, logit_scales: float32, how much of each adapter the rows use,
and the rows whose logits were asked for; encoded: int32, where the text of each row ends that an
encoder has read."""

ROWS_OF = {
    "all": STEP.n_rows,
    "logits": STEP.n_logits,
    "routed": STEP.n_routed,
    "encoded": STEP.n_rows,
}
"""Where a step says how many rows each row set has: what stands in `rows_of` of a record. A step
has rows that an encoder reads, or others."""
SCALES_OF = {"all": STEP.scales, "logits": STEP.logit_scales}
"""Where a step says the same of their scales: what stands in `scales` of a record."""

SCRATCH = 384 * 1024

MAX_HEAD_DIM = 1024
"""Heads beyond this do not fit attention's part of the scratch memory."""

EMBED = record("Embed", "weights n_in out scale packed")
"""packed: 1 for a table of panels, 0 for one whose rows lie as in the file; where panels are
`expanded`, always 1."""
ADD_POSITIONS = record("AddPositions", "x weights n_in out packed")
NORM = record(
    "Norm", "x weight bias n_in group own_weights eps kind rows_of out lines floats tile_rows"
)
"""rows_of: a place of ROWS_OF, in every record that has it. own_weights: 1 where each run of
`group` values has its own weights, else 0. kind: 0 RMS, 1 layer. out: where the normed float32 rows
go. lines, floats: where the rows go for matmuls, quantized or as float32, in tiles of `tile_rows`;
0 for neither."""
HAND_OVER = record("HandOver", "x n_in rows_of lines floats tile_rows")
MATMUL = record("Matmul", "weights x out stride bias residual n_in n_out rows_of scale")
"""scale: a float that all outputs are multiplied with."""
EXPERT_MATMUL = record("ExpertMatmul", f"{' '.join(MATMUL._fields[:-1])} scales routing next")
"""MATMUL for the matrices of all experts, `weights` and `bias` those of the first. scales: where
their scales are, 0 for none. next: the piece of work that the next thread takes; 0 between steps.
"""
ROUTING = record("Routing", "arrived n_active")
"""What Route found out of a step: threads that are done, and the experts that have rows. An ACTIVE
for each of those follows, then, behind room for all experts, a word for each expert, then for each
row and choice, as row * n_used + choice, the routed row as int32."""
ACTIVE = record("Active", "expert first n_rows")
"""An expert, its first routed row, a multiple of the rows of a tile, and how many it has."""


def routing_parts(n_experts: int) -> tuple[int, int, int]:
    """Bytes from a ROUTING to its ACTIVEs, to the words, to the routed rows."""
    words = ROUTING.size + n_experts * ACTIVE.size
    return ROUTING.size, words, words + 8 * n_experts


ROUTE = record(
    "Route",
    "logits out bias n_experts n_used gating n_groups n_groups_used renormalize scale "
    "least_sum threshold tile_rows routing",
)
"""gating: 0 softmax, 1 sigmoid, 2 softmax of the chosen, 3 square root of softplus, 4 sparsemixer,
without bias and groups. least_sum: what the sum of weights counts for at least when they are
renormalized. threshold: of sparsemixer."""
GATHER = record("Gather", "x n_in route n_used weighted places lines floats tile_rows")
"""places: the routed rows in a ROUTING. lines, floats, tile_rows: as in NORM."""
SCATTER = record("Scatter", "x route out residual n_in n_used weighted places")
HEAD_MATMUL = record("HeadMatmul", f"{' '.join(MATMUL._fields[:-1])} n_heads")
"""n_in, n_out: of one head."""
ROPE = record("Rope", "x out n_heads head_dim rope_dim neox table")
STORE_KV = record("StoreKv", "k v group pages n_kv_heads k_width v_width page_stride")
"""group: the number of the state group. v: 0 where V is in K."""
ATTENTION = record(
    "Attention",
    "q out layer group pages n_heads n_kv_heads k_width v_width page_stride scale window chunked "
    "softcap sinks bias bias_stride sees partials",
)
"""chunked: 1 for windows that begin anew at each multiple of their length. sinks: float32 of each
head, 0 for none. bias: of each head, `bias_stride` bytes apart, its slope, or the learned biases of
distances FAR down to -15. sees: 0 for all positions up to a row's own, ENCODED for those of the
text that an encoder has read, DECODED for those behind it. partials: zeroed counters, 8 bytes for
each row of SHARED_ROWS and group of query heads, then the states of splits; see `partial_bytes`."""
ENCODED, DECODED = 1, 2
FAR = 143
"""All distances that are at most 15 below it, or beyond, have the same learned bias."""


def partial_bytes(n_groups: int, n_positions: int, heads: int, v_width: int) -> int:
    """Bytes of ATTENTION.partials for groups of `heads` query heads and rows of `n_positions`."""
    n_splits = min(n_positions // SPLIT, MOST_SPLITS) + 1
    state = 64 + 64 * heads * (1 + 2 * -(-v_width // 32))
    return SHARED_ROWS * n_groups * (8 + n_splits * state)


GLU = record("Glu", "gate up stride n_in out lines floats tile_rows rows_of")
"""stride: values from one row of gate, or of up, to the next."""
ELEMENTWISE = record("Elementwise", "x out n_in parameter lines floats tile_rows rows_of")
"""x, out: 0 for the step's output, here and in TEMPER."""
XIELU = record("Xielu", "x out n_in alpha_p alpha_n beta eps lines floats tile_rows rows_of")
GATE = record("Gate", "x gate gate_width n_in out lines floats tile_rows rows_of")
"""gate_width: n_in, or 1 where a row has one gate."""
SLICE = record("Slice", "x n_runs group start n_taken out lines floats tile_rows rows_of")
JOIN = record(
    "Join", "a b n_heads a_width b_width b_stride b_step out lines floats tile_rows rows_of"
)
"""b_stride: values from one row of b to the next; b_step: from one head to the next, 0 where all
heads have the same."""
TEMPER = record("Temper", "x out n_in length scale offset")
ADD = record("Add", "a b out n_in rows_of")
MIX = record("Mix", "x weights fixed residual out n_in n_out width rows_of")
"""weights, residual: 0 for none. width: values of a run, of which x has n_in and out n_out."""
RESCALE = record("Rescale", "x like out n_in n_runs floor rows_of")
"""n_in: the width of a run and of like."""
GAUSSIAN_TOPK = record("GaussianTopK", "x out n_in n_deviations rows_of")
LAYER_SCALE = record("LayerScale", "x weight bias n_in out lines floats tile_rows rows_of")
"""bias: 0 for none."""
SELECT = record("Select", "x out n_in")
RECEIVE = record("Receive", "out n_in")
MASK = record("Mask", "rows masks out n_in n_rows")
"""rows, masks: the addresses of the address of each row, and of each row's words of 32 bits; out:
rows one behind the other."""
SURVEY = record("Survey", "rows wanted n_in n_rows room peaks sums counts ids logits")
"""rows: as in MASK. wanted: for each row the k of its largest, 0 for none. room: places that each
row has in ids, int64, and logits, float32; counts: int64, what would have been put there. peaks:
the largest of each row; sums: that of e**(x - peak), NaN where the row is not finite."""
READ = record("Read", "data n_bytes sums")
READ_SUM = 256
"""Bytes of READ.sums for each thread: 64 lanes of 32 bits."""
PEAK = record("Peak", "n_lanes sums")
"""n_lanes: the lanes of all instructions of a thread together, a multiple of 1536."""
PEAK_SUM = 256
"""Bytes of PEAK.sums for each thread: lanes of 32 bits, as many as four registers have."""
CLOCK = record("Clock", "stamps stride")
"""Where thread 0 puts the time, in ticks, and the bytes from there to the next thread's place."""
FETCH = record("Fetch", "read file offset target n_bytes unit sums failed")
"""read: the address of pread, 0 where target is filled already. sums: 8 bytes for each `unit`
bytes, a multiple of 256, or 0. Threads share out whole units. failed: a word, set to 1 where the
file ends early."""
PAGE_IN = record("PageIn", "madvise weights n_bytes page routing most")
"""madvise: the address of the system's. n_bytes: of an expert's matrix, `weights` those of the
first. page: bytes of a page. most: experts to ask for in a step."""
GUARD = record("Guard", "handler mmap sigaction raise_signal previous n_ranges")
"""handler: where the handler's address goes. mmap, sigaction, raise_signal: those of the system.
previous: the address of the action for faults elsewhere. Behind it stand `n_ranges` of GUARDED."""
GUARDED = record("Guarded", "start end damaged")
"""Whole pages of a mapped file. damaged: set to 1 where one was missing; all read as zeros then."""
PACK = record("Pack", "source target n_rows row_bytes n_blocks block_bytes fields n_fields")
PACK_FIELD = record("PackField", "offset count unit change")
"""`count` units of 1, 2, 4 or 8 bytes at `offset` of a block; change: a place in CHANGES."""
EXPAND = record("Expand", "source target n_panels n_blocks")

TAPE = record("Tape", "kernel args barrier")
TEAM = record(
    "Team",
    "arrived pad1 pad2 pad3 pad4 pad5 pad6 pad7 "
    "phase stop pad8 pad9 pad10 pad11 pad12 pad13 "
    "job tape n_records step yield_now pad14 pad15 pad16",
)
"""Words that threads share: `arrived`, `phase` and `job` on cache lines of their own."""
CONV = record("Conv", "x x_stride weight bias out dim n_taps group slots slot_stride")
"""x_stride: bytes from one row of x to the next. weight: 16 channels side by side, tap by tap."""
SSD = record(
    "Ssd",
    "x x_stride b b_stride c c_stride dt dt_stride gate gate_stride a d dt_bias out n_heads "
    "head_dim n_groups n_state group slots slot_stride",
)
"""Strides are bytes from row to row. gate, dt_bias: 0 for none. A slot has n_state vectors for each
16 channels of a head."""
SELECTIVE_SCAN = record(
    "SelectiveScan",
    "x x_stride b b_stride c c_stride dt dt_stride gate gate_stride a d out dim n_state group "
    "slots slot_stride",
)
"""a: 16 channels side by side, as they are in a slot."""
SHIFT = record("Shift", "x out n_in group slots slot_stride")
LERP = record("Lerp", "x other weight more more_stride n_in out lines floats tile_rows rows_of")
"""weight, more: 0 for none. more_stride: values from one row of more to the next."""
WKV6 = record(
    "Wkv6", "r k v decay first out n_heads n_kv_heads head_dim layer group slots slot_stride"
)
"""A state: (n_heads, keys, values), here and in WKV7."""
WKV7 = record("Wkv7", "r k v decay removed rate out n_heads head_dim layer group slots slot_stride")
BONUS = record("Bonus", "x r k v weight gate n_in head_dim out lines floats tile_rows rows_of")
"""gate: 0 for none."""

ADD_TYPES = record("AddTypes", "x weights n_in out")
ATTEND_ROWS = record(
    "AttendRows",
    "q k v out layer n_heads n_kv_heads k_width v_width scale softcap reach bias bias_stride span",
)
"""reach: rows to either side that a row sees. bias: float32 that are added to the scores of rows at
distances -span .. span, `bias_stride` bytes from one head's to the next, 0 where all have the same;
0 for none."""
FAR_BELOW = -1e30
"""The score of a position that is not seen: its weight vanishes beside any other."""


def bias_span(max_rows: int) -> int:
    """What a bias must reach to either side for steps of `max_rows`, whose last page is padded."""
    return max_rows + PAGE


MAX_ROWS_DIM = 256
"""Heads beyond this do not fit the scratch memory with a page of keys and values."""
DELTA = record(
    "Delta",
    "q q_stride k k_stride v v_stride beta decay bias rate by_channel out n_heads n_k_heads "
    "grouped k_dim v_dim eps group slots slot_stride",
)
"""Strides are bytes from row to row. by_channel: 1 where decay and bias are k_dim wide for each
head, 0 for one number. grouped: as in graph/ops/delta. A slot has the heads one after the other, of
each its columns of v in runs of DELTA_COLUMNS, the last what is left: (k_dim, columns of the run)
float32."""
DELTA_COLUMNS = 32
MAX_DELTA_KEY = 256
"""Channels of k beyond this do not fit the scratch memory."""
LORA_RUN = 256
"""Values of a row that LORA_DOWN sums up at a time."""
LORA_DOWN = record("LoraDown", "x weights out n_in n_panels adapters n_adapters rows_of scales")
"""weights: panels of float16. adapters: which adapter each panel is of, int64. scales: a place of
SCALES_OF, in every record that has it."""
LORA_PART = record("LoraPart", "adapter rank at factor")
"""at: where its values begin in a run of LORA_UP.t. factor: a float."""
LORA_UP = record(
    "LoraUp", "y t weights residual out n_out parts n_parts n_runs run n_adapters rows_of scales"
)
"""parts: LORA_PARTs. run: values in a run of t."""
EXPERT_LORA_DOWN = record(
    "ExpertLoraDown", f"{' '.join(LORA_DOWN._fields[:-1])} route places n_used routed weighted"
)
"""routed: 1 where x has routed rows. route, places: as in SCATTER."""
EXPERT_LORA_UP = record("ExpertLoraUp", f"{' '.join(LORA_UP._fields[:-1])} route places n_used")
