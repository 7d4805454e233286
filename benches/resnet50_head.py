"""Ten epochs of a new head for ResNet-50, `runner` beside PyTorch the way a notebook does it.

    python benches/resnet50_head.py PHOTOS

PHOTOS has one folder per class. Both train on four fifths of the photos in batches of 16 and validate on the rest, with two threads and random
weights. `runner` starts with an empty cache and runs all ten epochs. PyTorch decodes the photos and runs the frozen layers in every
epoch, so one epoch and one validation are measured, as written in most notebooks and channels-last, and the epoch counts ten times.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision.transforms import v2

THREADS, BATCH, EPOCHS = 2, 16, 10


class Photos(Dataset):
    def __init__(self, root):
        folders = sorted(folder for folder in pathlib.Path(root).iterdir() if folder.is_dir())
        self.items = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob("*.jpg"))]
        self.n_classes = len(folders)
        self.transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Resize((224, 224)),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        path, label = self.items[index]
        return self.transform(Image.open(path).convert("RGB")), label


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ours(photos):
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "head.toml")
        with open(config, "w") as file:
            file.write(
                f'data.root = "{os.path.abspath(photos)}"\nruns_dir = "{folder}/runs"\nthreads = {THREADS}\ndata.batch_size = {BATCH}\n'
                '[model]\narch = "resnet50"\nweights = "none"\n'
                f'[[phase]]\nname = "head"\nepochs = {EPOCHS}\ntrainable = ["head"]\n'
            )
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        command = ["target/release/runner", config, "--quiet"]
        return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def theirs(photos, memory_format):
    data = Photos(photos)
    n_train = int(0.8 * len(data))
    train, valid = random_split(data, [n_train, len(data) - n_train])
    model = torchvision.models.resnet50(weights=None)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.fc = torch.nn.Linear(model.fc.in_features, data.n_classes)
    model = model.to(memory_format=memory_format)
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-3)
    loss_of = torch.nn.CrossEntropyLoss()

    def epoch():
        model.train()
        for pixels, labels in DataLoader(train, BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = loss_of(model(pixels), labels)
            loss.backward()
            optimizer.step()
            loss.item()

    def validation():
        model.eval()
        with torch.no_grad():
            for pixels, _ in DataLoader(valid, BATCH):
                model(pixels)

    return seconds(epoch), seconds(validation)


def main():
    photos = sys.argv[1]
    torch.set_num_threads(THREADS)
    own = ours(photos)
    print(f"runner, {EPOCHS} epochs from an empty cache: {own:.1f} s")
    for name, memory_format in [("PyTorch", torch.contiguous_format), ("PyTorch, channels-last", torch.channels_last)]:
        epoch, validation = theirs(photos, memory_format)
        total = EPOCHS * epoch + validation
        print(f"{name}: {epoch:.1f} s an epoch, {validation:.1f} s a validation; {EPOCHS} epochs {total:.0f} s, {total / own:.1f} times as long")


if __name__ == "__main__":
    main()
