"""Classifies photos with a file of `runner export RUN model.onnx`: the class and its probability, a line for each photo.

    python predict_onnx.py model.onnx PHOTO...

Needs onnxruntime, numpy and pillow. The file itself says which classes it knows and how photos are resized.
"""
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read(path, rule):
    """The photo as the model takes it: float32, RGB, 0 to 1, [3, height, width]."""
    with Image.open(path) as opened:
        # Without this option of the data set, photos are used as they are stored.
        photo = ImageOps.exif_transpose(opened) if rule.get("exif_orientation") == "true" else opened
        photo = photo.convert("RGB")
    height, width = json.loads(rule["input_size"])
    sides = (height, width)
    if "shorter" in rule:
        shorter, shortest = int(rule["shorter"]), min(photo.size)
        sides = [shorter * side // shortest for side in (photo.height, photo.width)]
    method = Image.Resampling[rule["interpolation"].upper()]
    # Resizing an RGB image would round to 8 bits, so each channel is resized as 32-bit floats.
    planes = [plane.convert("F").resize((sides[1], sides[0]), method) for plane in photo.split()]
    pixels = np.stack([np.asarray(plane) for plane in planes]) / np.float32(255)
    top, left = round((sides[0] - height) / 2), round((sides[1] - width) / 2)
    return pixels[:, top : top + height, left : left + width]


def main(model, *photos):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rule = session.get_modelmeta().custom_metadata_map
    classes = json.loads(rule["classes"])
    for photo in photos:
        [probabilities] = session.run(["probabilities"], {"image": read(photo, rule)[np.newaxis]})
        best = probabilities[0].argmax()
        print(f"{photo}\t{classes[best]}\t{probabilities[0][best]:.6f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
