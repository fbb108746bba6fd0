"""The same network and training step in PyTorch, written as its users would: the peer that speed is measured by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

WIDTH, DEPTH, KERNEL, QUERY_LAYER, NORM_LAYER = 32, 10, 4, 6, 7
HEADS = {"voltage": 1, "mode": 4, "rate": 2}
# Of `--recipe=best`: channels per position, dense features, bins of the voltage, their width in deviations.
STRIDE, DENSE, BINS, BIN_WIDTH = 4, 512, 64, 0.1


class Network(nn.Module):
    """Ten convolutions, attention of layer 6 over layer 10, one linear head per target of case 3.

    With `is_best` it is that of `--recipe=best`: a stride in the first layer, scaled logits, two dense layers beside
    the attention, and a distribution over the voltage.
    """

    def __init__(self, length: int = 256, is_best: bool = False):
        super().__init__()
        widths = [1] + [WIDTH] * DEPTH
        self.layers = nn.ModuleList(nn.Conv1d(a, b, KERNEL, padding="same") for a, b in itertools.pairwise(widths))
        self.scale, self.dense, features = 1.0, None, WIDTH * length
        if is_best:
            self.layers[0] = nn.Conv1d(1, WIDTH, 2 * STRIDE, stride=STRIDE, padding=STRIDE // 2)
            self.scale, features = WIDTH**-0.5, WIDTH * length // STRIDE + DENSE
            parts = [
                (nn.Linear(size, DENSE), nn.LayerNorm(DENSE), nn.GELU(approximate="tanh")) for size in (length, DENSE)
            ]
            self.dense = nn.Sequential(*itertools.chain.from_iterable(parts))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.norm = nn.BatchNorm1d(WIDTH)
        heads = HEADS | ({"voltage": BINS} if is_best else {})
        self.heads = nn.ModuleDict({name: nn.Linear(features, size) for name, size in heads.items()})

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """[B, L] -> ({target: [B, K]}, attention [B, L, L])."""
        hidden = x[:, None, :]
        query = hidden
        for number, layer in enumerate(self.layers, 1):
            hidden = torch.relu(layer(hidden))
            if number == NORM_LAYER:
                hidden = self.norm(hidden)
            if number == QUERY_LAYER:
                query = hidden
        key = hidden.transpose(1, 2)
        attention = torch.softmax(self.scale * query.transpose(1, 2) @ hidden, dim=-1)
        flat = torch.tanh(attention @ key).flatten(1)
        if self.dense is not None:
            flat = torch.cat([flat, self.dense(x)], dim=1)
        return {name: head(flat) for name, head in self.heads.items()}, attention


def loss_of(outputs: dict[str, Tensor], targets: dict[str, Tensor], scale: float = 0.3) -> Tensor:
    """Return log-cosh of the voltage, turning linear at `scale`, or that of its bins, plus the cross-entropies."""
    classes = sum(nn.functional.cross_entropy(outputs[name], targets[name]) for name in ("mode", "rate"))
    if outputs["voltage"].shape[1] > 1:
        edges = BIN_WIDTH * (torch.arange(BINS + 1, device=outputs["voltage"].device) - BINS / 2)
        cumulative = torch.special.ndtr((edges[None, :] - targets["voltage"][:, None]) / (0.75 * BIN_WIDTH))
        mass = cumulative.diff(dim=1)
        return nn.functional.cross_entropy(outputs["voltage"], mass / mass.sum(dim=1, keepdim=True)) + classes
    error = (outputs["voltage"][:, 0] - targets["voltage"]) / scale
    log_cosh = error.abs() + nn.functional.softplus(-2 * error.abs()) - math.log(2)
    return log_cosh.mean() + classes


def trainer(
    patterns: Tensor, targets: dict[str, Tensor], batch: int, steps: int, compiled: bool, precision: str,
    is_best: bool = False,
) -> Callable[[int], float]:  # fmt: skip
    """Return a function that takes n optimisation steps and returns the last loss; data stay on their device."""
    torch.manual_seed(0)
    device = patterns.device
    network = Network(patterns.shape[1], is_best).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 2))
    forward = torch.compile(network) if compiled else network
    steps_done = 0

    def run(count: int) -> float:
        nonlocal steps_done
        loss = torch.zeros((), device=device)
        for _ in range(count):
            rows = torch.randint(len(patterns), (batch,), device=device)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                outputs, _ = forward(patterns[rows])
            loss = loss_of({k: v.float() for k, v in outputs.items()}, {k: v[rows] for k, v in targets.items()})
            loss.backward()
            optimiser.step()
            steps_done += 1
            if steps_done < steps:
                schedule.step()
        return float(loss)

    return run


def predictor(patterns: Tensor, chunk: int, maps: bool, compiled: bool, precision: str) -> Callable[[int], float]:
    """Return a function that predicts n chunks, with the maximum over keys of the attention if `maps`."""
    network = Network(patterns.shape[1]).to(patterns.device).eval()
    forward = torch.compile(network) if compiled else network

    @torch.inference_mode()
    def run(count: int) -> float:
        total = torch.zeros((), device=patterns.device)
        for i in range(count):
            begin = (i * chunk) % (len(patterns) - chunk + 1)
            with torch.autocast(patterns.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                outputs, attention = forward(patterns[begin : begin + chunk])
            total = total + outputs["voltage"].float().sum()
            if maps:
                total = total + attention.amax(dim=-1).float().sum()
        return float(total)

    return run
