"""Writes what Pillow or torchvision makes of each JPEG under some folders to stdout: `make pixels`.

    reference.py pixels|tensor|crop|pil|weights FOLDER...

`pixels`: the bytes of `convert("RGB")`. `tensor`: what runner's preprocessing equals. `pil`: the same transforms on a PIL image.
`crop`: what it equals with shorter = 256 and crop = 224. `weights`: `weights.transforms()` on a PIL image. Each photo is a line
of its path, kind, height and width, then its numbers.
Needs pillow, and for the others torch and torchvision.
"""
import sys
from pathlib import Path

from PIL import Image

kind, *folders = sys.argv[1:]
if kind == "pixels":
    reference = None
else:
    import torch
    from torchvision.models import VGG16_Weights
    from torchvision.transforms import v2

    normalize = v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    resize = v2.Resize((224, 224), antialias=True)
    floats = v2.ToDtype(torch.float32, scale=True)
    reference = {
        "tensor": v2.Compose([v2.PILToTensor(), floats, resize, normalize]),
        "crop": v2.Compose([v2.PILToTensor(), floats, v2.Resize(256, antialias=True), v2.CenterCrop(224), normalize]),
        "pil": v2.Compose([resize, v2.PILToTensor(), floats, normalize]),
        "weights": VGG16_Weights.IMAGENET1K_V1.transforms(),
    }[kind]

files = (path for folder in folders for path in Path(folder).rglob("*"))
for path in sorted(path for path in files if path.suffix.lower() in [".jpg", ".jpeg"]):
    with Image.open(path) as image:
        if image.format != "JPEG":
            continue
        image = image.convert("RGB")
    if reference is None:
        (width, height), numbers = image.size, image.tobytes()
    else:
        tensor = reference(image)
        (height, width), numbers = tensor.shape[1:], tensor.numpy().astype("<f4").tobytes()
    sys.stdout.buffer.write(f"{path.resolve()}\t{kind}\t{height}\t{width}\n".encode() + numbers)
