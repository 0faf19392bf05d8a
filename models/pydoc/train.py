"""Train the embedded model on the rows that data.py made; a GPU is used where there is one."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from data import ASSISTANT, CHAT_ROW, TEXT_ROW, USER
from model import Config, Llama
from muon import Muon
from torch import Tensor
from torch.nn import functional

MUON_LR, ADAM_LR, WARMUP_STEPS, DECAY_SHARE = 0.02, 4e-3, 100, 0.6
WEIGHT_DECAY, BETAS, CLIP = 0.01, (0.9, 0.95), 1.0
STEP_TOKENS, FIRST_WEIGHT = 4096, 5.0
TEXT_EVERY = 8  # one step of so many is text, the others are dialogues
LOG_EVERY, SAVE_EVERY, BAR_WIDTH = 25, 200, 24


class Rows:
    """Rows of tokens in a file, handed out in its order, again from the start when they end."""

    def __init__(self, path: Path, n_tokens: int) -> None:
        self.rows = np.fromfile(path, np.uint16).reshape(-1, n_tokens + 1)
        self.batch = STEP_TOKENS // n_tokens

    def at(self, index: int) -> Tensor:
        """The index-th batch: (batch, n_tokens + 1)."""
        at = np.arange(index * self.batch, (index + 1) * self.batch) % len(self.rows)
        return torch.from_numpy(self.rows[at].astype(np.int64))


def weights_of(rows: Tensor, user: int, assistant: int, eos: int) -> Tensor:
    """How much each target counts: answers, more at their first token, where a refusal parts from
    the rest, and everything in rows without questions."""
    inputs = rows[:, :-1]
    at = torch.arange(inputs.shape[1], device=rows.device)
    opened = torch.where(inputs == assistant, at, -1).cummax(dim=1).values
    closed = torch.where((inputs == user) | (inputs == eos), at, -1).cummax(dim=1).values
    counts = (opened > closed) | ~(inputs == user).any(dim=1, keepdim=True)
    return torch.where(inputs == assistant, FIRST_WEIGHT, counts.float())


def loss_of(model: Llama, rows: Tensor, weights: Tensor, bf16: bool) -> Tensor:
    """Weighted mean of the cross entropy."""
    with torch.autocast(rows.device.type, dtype=torch.bfloat16, enabled=bf16):
        logits = model(rows[:, :-1])
    targets = rows[:, 1:].flatten()
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


class Run:
    """A model in training and all that a run needs to go on from its checkpoint."""

    def __init__(self, folder: Path, device: str) -> None:
        self.path = folder / "checkpoint.pt"
        self.model = Llama(Config()).to(device)
        named = list(self.model.named_parameters())
        hidden = [weight for name, weight in named if weight.dim() == 2 and "embd" not in name]
        others = [weight for name, weight in named if weight.dim() == 1 or "embd" in name]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(hidden, MUON_LR, weight_decay=WEIGHT_DECAY),
            torch.optim.AdamW(others, ADAM_LR, BETAS, weight_decay=0.0, fused=True),
        ]
        self.step, self.spent_s = 0, 0.0
        self.curve: list[tuple[int, float, float]] = []  # (step, loss of dialogues, of text)
        if self.path.exists():
            state = torch.load(self.path, map_location=device)
            self.step, self.spent_s, self.curve = state["step"], state["spent_s"], state["curve"]
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)

    def save(self) -> None:
        """Write the checkpoint in one piece."""
        state = {name: vars(self)[name] for name in ("step", "spent_s", "curve")}
        state["model"] = self.model.state_dict()
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").replace(self.path)

    def update(self, steps: int) -> None:
        """One step of the optimizers: warm-up, a plateau, and a line to zero at the last step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        decay = (steps - self.step) / (DECAY_SHARE * steps)
        share = min(1.0, (self.step + 1) / WARMUP_STEPS, decay)
        for optimizer, peak in zip(self.optimizers, (MUON_LR, ADAM_LR), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = share * peak
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1


def progress(run: Run, steps: int) -> str:
    """A bar, the losses and the time that is left."""
    _, chat, text = run.curve[-1]
    bar = "█" * (BAR_WIDTH * run.step // steps)
    left = run.spent_s / run.step * (steps - run.step) / 60
    tok_s = run.step * STEP_TOKENS / run.spent_s
    shown = f"step {run.step}, loss {chat:.3f} (dialogues) {text:.3f} (text)"
    return f"{bar:░<{BAR_WIDTH}} {shown}, {tok_s:,.0f} tok/s, {left:.0f} min left"


def plot(run: Run, path: Path) -> None:
    """The curve of the loss as a picture, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for column, name in ((1, "dialogues"), (2, "text")):
        axes.plot([point[0] for point in run.curve], [p[column] for p in run.curve], label=name)
    axes.set(xlabel="step", ylabel="loss, nats per token", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that data.py filled")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="multiply matrices in bfloat16")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    run = Run(args.folder, device)
    print(f"{sum(w.numel() for w in run.model.parameters()):,} parameters on {device}")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(args.folder / "vocab.model"))
    controls = (pieces.piece_to_id(USER), pieces.piece_to_id(ASSISTANT), pieces.eos_id())
    train_loss = torch.compile(loss_of, dynamic=False) if args.compile else loss_of
    chat, text = Rows(args.folder / "chat.bin", CHAT_ROW), Rows(args.folder / "text.bin", TEXT_ROW)
    recent: dict[bool, list[float]] = {False: [], True: []}
    started = time.monotonic() - run.spent_s
    while run.step < args.steps:
        turn, is_text = run.step // TEXT_EVERY, (run.step + 1) % TEXT_EVERY == 0
        rows = (text.at(turn) if is_text else chat.at(run.step - turn)).to(device)
        loss = train_loss(run.model, rows, weights_of(rows, *controls), args.bf16)
        loss.backward()
        run.update(args.steps)
        recent[is_text].append(loss.item())
        run.spent_s = time.monotonic() - started
        if run.step % LOG_EVERY == 0:
            run.curve.append(
                (run.step, float(np.mean(recent[False])), float(np.mean(recent[True])))
            )
            recent = {False: [], True: []}
            print(progress(run, args.steps), flush=True)
        if run.step % SAVE_EVERY == 0 or run.step == args.steps:
            run.save()
            plot(run, args.folder / "loss.png")


if __name__ == "__main__":
    main()
