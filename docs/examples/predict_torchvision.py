"""Classifies photos with a file of `runner export RUN model.safetensors`: the class and its probability, a line for each photo.

    python predict_torchvision.py model.safetensors PHOTO...

Needs torch, torchvision, safetensors and pillow. The file itself says which network it is for, which classes it knows and how
photos are preprocessed.
"""
import json
import sys

import torch
import torchvision
from PIL import Image, ImageOps
from safetensors import safe_open
from torchvision.transforms import InterpolationMode, v2


def preprocessing(rule):
    """Turns a PIL image into the network's input, [3, height, width]."""
    size = json.loads(rule["input_size"])
    method = InterpolationMode(rule["interpolation"])
    shorter = [int(rule["shorter"])] if "shorter" in rule else size
    return v2.Compose([
        # Without this option of the data set, photos are used as they are stored.
        v2.Lambda(ImageOps.exif_transpose if rule.get("exif_orientation") == "true" else lambda photo: photo),
        v2.Lambda(lambda photo: photo.convert("RGB")),
        # Resizing a PIL image would round to 8 bits, so it becomes a tensor of floats first.
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Resize(shorter, interpolation=method, antialias=True),
        v2.CenterCrop(size),
        v2.Normalize(mean=json.loads(rule["mean"]), std=json.loads(rule["std"])),
    ])


@torch.inference_mode()
def main(file, *photos):
    with safe_open(file, framework="pt") as opened:
        rule = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}
    classes = json.loads(rule["classes"])
    model = torchvision.models.get_model(rule["arch"], num_classes=len(classes))
    model.load_state_dict(state, strict=True)
    model.eval()
    preprocess = preprocessing(rule)
    for photo in photos:
        with Image.open(photo) as opened:
            probabilities = model(preprocess(opened)[None]).softmax(dim=1)[0]
        best = int(probabilities.argmax())
        print(f"{photo}\t{classes[best]}\t{probabilities[best]:.6f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
