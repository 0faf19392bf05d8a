"""Train the embedded model on the tokens that data.py made, on one CPU thread if need be."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from model import Config, Llama
from torch.nn import functional

PEAK_LR, FINAL_LR, WARMUP_STEPS = 2e-3, 2e-5, 100
WEIGHT_DECAY, BETAS, CLIP = 0.1, (0.9, 0.95), 1.0
VALID_BATCHES = 8
LOG_EVERY, SAVE_EVERY = 20, 400


def learning_rate(step: int, progress: float) -> float:
    """Linear warm-up, then a cosine from PEAK_LR to FINAL_LR as progress goes from 0 to 1."""
    cosine = FINAL_LR + 0.5 * (PEAK_LR - FINAL_LR) * (1 + math.cos(math.pi * min(progress, 1.0)))
    return cosine * min(1.0, (step + 1) / WARMUP_STEPS)


def batch_at(tokens: np.ndarray, step: int, batch: int, n_ctx: int, seed: int) -> torch.Tensor:
    """Windows (batch, n_ctx + 1) of a shuffled pass; a function of the step, so runs resume."""
    n_windows = (len(tokens) - 1) // n_ctx - 1
    rows = []
    for i in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(i, n_windows)
        rng = np.random.default_rng((seed, epoch))
        offset = int(rng.integers(n_ctx))
        start = offset + int(rng.permutation(n_windows)[index]) * n_ctx
        rows.append(tokens[start : start + n_ctx + 1].astype(np.int64))
    return torch.from_numpy(np.stack(rows))


def loss_of(model: Llama, rows: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Mean cross entropy of the next token."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(rows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


@torch.no_grad()
def valid_loss(model: Llama, tokens: np.ndarray, n_ctx: int, bf16: bool) -> float:
    """The loss on windows of the documents that were held out, always the same ones."""
    batches = [batch_at(tokens, i, 8, n_ctx, seed=0) for i in range(VALID_BATCHES)]
    return float(np.mean([loss_of(model, rows, bf16).item() for rows in batches]))


def restore(path: Path, model: Llama, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load a checkpoint if there is one; the steps and the seconds that it took, else zeros."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["spent_s"]


def save(
    path: Path, model: Llama, optimizer: torch.optim.Optimizer, step: int, spent_s: float
) -> None:
    """Write a checkpoint in one piece."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state | {"step": step, "spent_s": spent_s}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that data.py filled")
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop by the clock, too")
    parser.add_argument("--batch", type=int, default=8, help="windows per step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="multiply matrices in bfloat16")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)

    config = Config()
    model = Llama(config)
    train_loss = torch.compile(loss_of) if args.compile else loss_of
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": norms}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=BETAS, weight_decay=0.0, fused=True)
    train, valid = (np.fromfile(args.folder / f"{n}.bin", np.uint16) for n in ("train", "valid"))
    print(f"{sum(w.numel() for w in model.parameters()):,} parameters, {len(train):,} tokens")

    checkpoint = args.folder / "checkpoint.pt"
    step, spent_s = restore(checkpoint, model, optimizer)
    started, progress = time.monotonic() - spent_s, step / args.steps
    while progress < 1.0:
        elapsed_s = time.monotonic() - started
        progress = max((step + 1) / args.steps, elapsed_s / (60 * args.minutes))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress)
        rows = batch_at(train, step, args.batch, config.n_ctx, args.seed)
        loss = train_loss(model, rows, args.bf16)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        step += 1
        spent_s = time.monotonic() - started
        if step % LOG_EVERY == 0:
            tok_s = step * args.batch * config.n_ctx / spent_s
            print(f"step {step} ({progress:.0%}) loss {loss.item():.3f}, {tok_s:.0f} tok/s")
        if step % SAVE_EVERY == 0 or progress >= 1.0:
            print(f"valid {valid_loss(model, valid, config.n_ctx, args.bf16):.3f}", flush=True)
            save(checkpoint, model, optimizer, step, spent_s)


if __name__ == "__main__":
    main()
