"""The job of `configs/head_only.toml` and `configs/finetune.toml` as the notebook writes it: frozen features are computed again in
every epoch, from photos that are decoded again in every epoch."""

import statistics
import time

import torch
from photos import Photos, notebook_transform, precision, synchronize, vgg16
from torch import nn
from torch.utils.data import DataLoader, random_split


def train(request: dict) -> dict:
    """Epochs of `head` or `finetune`, each with its validation."""
    device, batch = request.get("device", "cpu"), request["batch"]
    torch.manual_seed(request.get("seed", 0))
    context = precision(request.get("precision", "f32"), device)
    photos = Photos(request["root"], notebook_transform())
    n_train = int(0.8 * len(photos))
    parts = random_split(photos, [n_train, len(photos) - n_train])
    loading = {"batch_size": batch, "num_workers": request.get("workers", 0)}
    loader, valid_loader = DataLoader(parts[0], shuffle=True, **loading), DataLoader(parts[1], **loading)

    model = vgg16(photos.n_classes, request.get("weights")).to(device)
    for parameter in model.features.parameters():
        parameter.requires_grad = False
    if request["phase"] == "finetune":
        for parameter in model.features[24:].parameters():
            parameter.requires_grad = True
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=request["lr"])
    loss_of = nn.CrossEntropyLoss()
    train_seconds, valid_seconds = [], []
    for _ in range(request["epochs"]):
        synchronize(device)
        started = time.perf_counter()
        model.train()
        for values, labels in loader:
            values, labels = values.to(device), labels.to(device)
            optimizer.zero_grad()
            with context:
                loss = loss_of(model(values), labels)
            loss.backward()
            optimizer.step()
            loss.item()
        synchronize(device)
        train_seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        model.eval()
        n_right = 0
        with torch.no_grad(), context:
            for values, labels in valid_loader:
                n_right += (model(values.to(device)).argmax(1).cpu() == labels).sum().item()
        valid_seconds.append(time.perf_counter() - started)
    is_cuda = device.startswith("cuda")
    return {
        "train_seconds": statistics.median(train_seconds),
        "valid_seconds": statistics.median(valid_seconds),
        "n_train": n_train,
        "device_mib": torch.cuda.max_memory_allocated() / 2**20 if is_cuda else None,
    }
