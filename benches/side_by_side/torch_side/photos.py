"""What both ways of writing the job share: a folder of photos, and VGG16."""

from contextlib import nullcontext
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

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


def notebook_transform():
    """What a photo goes through before the model in the notebook."""
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((SIDE, SIDE)),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def fast_transform():
    """The same in the order that torchvision recommends: bytes are resized several times faster than floats."""
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize((SIDE, SIDE)),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def precision(kind: str, device: str = "cpu"):
    """Sets TF32 and returns the context of a forward pass: `f32`, `tf32`, or `bf16` by autocast."""
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    torch.backends.cudnn.allow_tf32 = kind == "tf32"
    if kind == "bf16":
        return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)
    return nullcontext()


def vgg16(n_classes: int, weights: str | None) -> nn.Module:
    """VGG16 with a fresh last layer; `weights` may lack the classifier."""
    model = torchvision.models.vgg16(weights=None)
    if weights:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state, strict=False)
    model.classifier[6] = nn.Linear(4096, n_classes)
    return model
