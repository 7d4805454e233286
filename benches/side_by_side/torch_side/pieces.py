"""Single parts of the job: the notebook's classifier step, VGG16's features, decoding."""

import io
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from photos import SIDE, fast_transform, notebook_transform, precision, synchronize, vgg16
from torch import nn


def milliseconds(request: dict, work) -> float:
    """Median over `repeats` runs, after two that are not counted."""
    device, seconds = request.get("device", "cpu"), []
    for index in range(request["repeats"] + 2):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if index >= 2:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e3


def classifier_step(request: dict) -> dict:
    """Forward, backward and update of VGG16's classifier on activations."""
    device, batch = request.get("device", "cpu"), request["batch"]
    context = precision(request.get("precision", "f32"), device)
    classifier = vgg16(2, None).classifier.to(device).train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-4)
    values = torch.randn(batch, 25088, device=device)
    labels = torch.arange(batch, device=device) % 2
    loss_of = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        with context:
            loss = loss_of(classifier(values), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return {"milliseconds": milliseconds(request, step)}


def features_forward(request: dict) -> dict:
    """VGG16's convolutions without gradients, per photo."""
    batch = request["batch"]
    order = torch.channels_last if request["channels_last"] else torch.contiguous_format
    features = vgg16(2, None).features.to(memory_format=order).eval()
    values = torch.randn(batch, 3, SIDE, SIDE).contiguous(memory_format=order)
    with torch.no_grad(), precision(request["precision"]):
        return {"milliseconds": milliseconds(request, lambda: features(values)) / batch}


def decode(request: dict) -> dict:
    """The first photos of the last class, as the program's own measurement takes them; bytes are in memory."""
    folder = sorted(folder for folder in Path(request["root"]).iterdir() if folder.is_dir())[-1]
    files = [(folder / f"{index}.jpg").read_bytes() for index in range(request["photos"])]
    transforms = {"prepare": notebook_transform(), "prepare_fast": fast_transform()}
    answer = dict.fromkeys(["decode", *transforms], 0.0)
    per_photo = 1e3 / len(files)
    for data in files:
        started = time.perf_counter()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        answer["decode"] += (time.perf_counter() - started) * per_photo
        for name, transform in transforms.items():
            started = time.perf_counter()
            transform(image)
            answer[name] += (time.perf_counter() - started) * per_photo
    return answer
