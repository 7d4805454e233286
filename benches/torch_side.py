"""The PyTorch half of `make bench`: one JSON request per line on stdin, one JSON answer per line on stdout.

It does the job that `configs/head_only.toml` and `configs/finetune.toml` describe the way a PyTorch user writes it: PIL,
torchvision's transforms, a DataLoader, frozen features that are computed again in every epoch. It needs torch and
torchvision, which bring PIL along; without them the first answer says so.
"""

import io
import json
import statistics
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

try:
    import PIL
    import torch
    import torchvision
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, random_split
    from torchvision.transforms import v2
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(0)

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
SIDE = 224


class Photos(Dataset):
    """A folder with a folder for each class. `files` are known to open."""

    def __init__(self, root: str, transform):
        self.transform = transform
        self.files: list[tuple[Path, int]] = []
        folders = sorted(folder for folder in Path(root).iterdir() if folder.is_dir())
        for label, folder in enumerate(folders):
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SUFFIXES and is_image(path):
                    self.files.append((path, label))
        self.n_classes = len(folders)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        path, label = self.files[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label


def is_image(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.verify()
        return True
    except (OSError, SyntaxError):
        return False


def to_values():
    """What a photo goes through before the model."""
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((SIDE, SIDE)),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def precision(request: dict):
    """Sets TF32 and returns the context of a forward pass: `f32`, `tf32`, or `bf16` by autocast."""
    kind = request.get("precision", "f32")
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    torch.backends.cudnn.allow_tf32 = kind == "tf32"
    if kind == "bf16":
        return torch.autocast(request.get("device", "cpu").split(":")[0], dtype=torch.bfloat16)
    return nullcontext()


def vgg16(n_classes: int, weights: str | None) -> nn.Module:
    """VGG16 with a fresh last layer; `weights` may lack the classifier."""
    model = torchvision.models.vgg16(weights=None)
    if weights:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state, strict=False)
    model.classifier[6] = nn.Linear(4096, n_classes)
    return model


def train(request: dict) -> dict:
    """Epochs of `head` or `finetune`, each with its validation."""
    device, batch = request.get("device", "cpu"), request["batch"]
    torch.manual_seed(request.get("seed", 0))
    context = precision(request)
    photos = Photos(request["root"], to_values())
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
        "n_valid": len(photos) - n_train,
        "device_mib": torch.cuda.max_memory_allocated() / 2**20 if is_cuda else None,
    }


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
    context = precision(request)
    classifier = vgg16(2, None).classifier.to(device).train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-4, fused=request.get("fused") or None)
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
    device, batch = request.get("device", "cpu"), request["batch"]
    dtype = torch.bfloat16 if request.get("bf16") else torch.float32
    order = torch.channels_last if request.get("channels_last") else torch.contiguous_format
    precision(request)
    features = vgg16(2, None).features.to(device, dtype, memory_format=order).eval()
    values = torch.randn(batch, 3, SIDE, SIDE).to(device, dtype, memory_format=order)
    with torch.no_grad():
        return {"milliseconds": milliseconds(request, lambda: features(values)) / batch}


def decode(request: dict) -> dict:
    """The first photos of the last class, as the program's own measurement takes them; bytes are in memory."""
    folder = sorted(folder for folder in Path(request["root"]).iterdir() if folder.is_dir())[-1]
    files = [(folder / f"{index}.jpg").read_bytes() for index in range(request["photos"])]
    transform = to_values()
    started = time.perf_counter()
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in files]
    decoded = time.perf_counter()
    for image in images:
        transform(image)
    prepared = time.perf_counter()
    per_photo = 1e3 / len(files)
    return {"decode": (decoded - started) * per_photo, "prepare": (prepared - decoded) * per_photo}


def hello(request: dict) -> dict:
    device = request.get("device", "cpu")
    return {
        "versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}, PIL {PIL.__version__}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
    }


JOBS = {job.__name__: job for job in (hello, train, classifier_step, features_forward, decode)}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            torch.set_num_threads(request.get("threads", 1))
            answer = JOBS[request["job"]](request)
        except Exception as error:  # The other half shows it and goes on with the next row.
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
