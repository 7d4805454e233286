"""The same job as PyTorch's best users write it, on a CPU: the frozen layers run once for each photo, without gradients, channels-last;
their outputs stay in memory as f32; mini-batches are drawn from there; Adam is fused.

`front` is the precision of the frozen layers and `step` that of the trained ones: `f32`, or `bf16` by autocast."""

import statistics
import time
from collections.abc import Callable

import torch
from photos import Photos, fast_transform, precision, vgg16
from torch import nn
from torch.utils.data import DataLoader, Subset

# The first layer that `finetune` trains.
FIRST_TRAINED = 24
# Validation needs no gradients, so larger batches fit; they read the weights less often.
VALID_BATCH = 256


def front_of(model: nn.Module, phase: str) -> nn.Module:
    return model.features if phase == "head" else model.features[:FIRST_TRAINED]


def back_of(model: nn.Module, phase: str) -> nn.Module:
    if phase == "head":
        return model.classifier
    return nn.Sequential(model.features[FIRST_TRAINED:], nn.Flatten(), model.classifier)


def new_model(n_classes: int, weights: str | None) -> nn.Module:
    return vgg16(n_classes, weights).to(memory_format=torch.channels_last)


def frozen_outputs(model: nn.Module, photos: Photos, order: list[int], request: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs of the frozen layers and the labels, in `order`. The inputs of convolutions are kept as [N, H, W, C]."""
    is_head = request["phase"] == "head"
    front = front_of(model, request["phase"]).eval()
    loader = DataLoader(Subset(photos, order), request["batch"], num_workers=request["workers"])
    values, all_labels, done = None, [], 0
    with torch.no_grad(), precision(request["front"]):
        for pixels, labels in loader:
            outputs = front(pixels.contiguous(memory_format=torch.channels_last))
            outputs = outputs.flatten(1) if is_head else outputs.permute(0, 2, 3, 1)
            if values is None:
                values = torch.empty(len(order), *outputs.shape[1:])
            values[done : done + len(labels)] = outputs
            done += len(labels)
            all_labels.append(labels)
    return values, torch.cat(all_labels)


def taken(values: torch.Tensor, rows) -> torch.Tensor:
    """A mini-batch. Those of [N, H, W, C] become channels-last [N, C, H, W] without another copy."""
    batch = values[rows]
    return batch.permute(0, 3, 1, 2) if batch.dim() == 4 else batch


def stepper(back: nn.Module, request: dict) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    optimizer = torch.optim.Adam(back.parameters(), lr=request["lr"], fused=True)
    loss_of = nn.CrossEntropyLoss()

    def step(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        with precision(request["step"]):
            loss = loss_of(back(values), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def train_epochs(back: nn.Module, values: torch.Tensor, labels: torch.Tensor, n_train: int, request: dict) -> dict:
    """Epochs on the first `n_train` rows, each with a validation on the others."""
    step, batch = stepper(back, request), request["batch"]
    loss_of = nn.CrossEntropyLoss(reduction="sum")
    train_seconds, valid_seconds, n_steps = [], [], 0
    for _ in range(request["epochs"]):
        started = time.perf_counter()
        back.train()
        for rows in torch.randperm(n_train).split(batch):
            step(taken(values, rows), labels[rows])
            n_steps += 1
        train_seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        back.eval()
        n_right, loss = 0, 0.0
        with torch.no_grad(), precision(request["step"]):
            for first in range(n_train, len(labels), VALID_BATCH):
                rows = slice(first, first + VALID_BATCH)
                scores = back(taken(values, rows))
                loss += loss_of(scores, labels[rows]).item()
                n_right += (scores.argmax(1) == labels[rows]).sum().item()
        valid_seconds.append(time.perf_counter() - started)
    return {
        "epoch_seconds": train_seconds[-1] + valid_seconds[-1],
        "step_milliseconds": sum(train_seconds) / n_steps * 1e3,
        "accuracy": n_right / max(len(labels) - n_train, 1),
    }


def cached(request: dict) -> dict:
    """The whole job. Where `keep` names a file, the outputs of the frozen layers are saved there at the end, which is not counted."""
    started = time.perf_counter()
    torch.manual_seed(request.get("seed", 0))
    photos = Photos(request["root"], fast_transform())
    order = torch.randperm(len(photos)).tolist()[: request.get("limit")]
    n_train = int(0.8 * len(order))
    model = new_model(photos.n_classes, request.get("weights"))
    filling = time.perf_counter()
    values, labels = frozen_outputs(model, photos, order, request)
    filled = time.perf_counter()
    answer = {"fill_milliseconds": (filled - filling) / len(order) * 1e3}
    if request["epochs"]:
        answer |= train_epochs(back_of(model, request["phase"]), values, labels, n_train, request)
    answer["seconds"] = time.perf_counter() - started
    if request.get("keep"):
        torch.save({"values": values, "labels": labels, "n_train": n_train, "n_classes": photos.n_classes}, request["keep"])
    return answer


def cached_again(request: dict) -> dict:
    """The head job from saved outputs of the frozen layers."""
    started = time.perf_counter()
    torch.manual_seed(request.get("seed", 0))
    kept = torch.load(request["keep"], weights_only=True)
    model = new_model(kept["n_classes"], request.get("weights"))
    answer = train_epochs(back_of(model, "head"), kept["values"], kept["labels"], kept["n_train"], request)
    return answer | {"seconds": time.perf_counter() - started}


def cached_step(request: dict) -> dict:
    """One step of the trained layers on random values: the median of `repeats`, after two that are not counted."""
    batch, phase = request["batch"], request["phase"]
    back = back_of(new_model(2, None), phase).train()
    step = stepper(back, request)
    values = torch.randn(10 * batch, 25088) if phase == "head" else torch.randn(2 * batch, 14, 14, 512)
    labels = torch.arange(len(values)) % 2
    seconds = []
    for _ in range(request["repeats"] + 2):
        rows = torch.randperm(len(values))[:batch]
        started = time.perf_counter()
        step(taken(values, rows), labels[rows])
        seconds.append(time.perf_counter() - started)
    return {"milliseconds": statistics.median(seconds[2:]) * 1e3}
