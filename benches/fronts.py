"""The frozen layers in front of the head: `runner` beside PyTorch (channels-last) and ONNX Runtime.

    python benches/fronts.py [ARCH..]

Runs the three in turn, several rounds, each with two threads on batches of 16 images of 224 x 224 and random weights, and prints the
medians of their milliseconds an image and of the ratios of the rounds. Leave the machine alone meanwhile. ONNX Runtime is left out
where `onnxruntime` or `onnx` is not installed.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torchvision

THREADS, BATCH, SIDE, ROUNDS, RUNS = 2, 16, 224, 5, 7
TEST = "train::backbone_tests::fronts::milliseconds_of_fronts"


def ours(archs):
    environment = os.environ | {"RUNNER_BENCH_ARCHS": ",".join(archs), "RAYON_NUM_THREADS": str(THREADS)}
    command = ["cargo", "test", "--release", "--quiet", "--lib", "--", "--ignored", "--exact", TEST, "--nocapture"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = (output.stdout + output.stderr).splitlines()
    rows = [line.split() for line in lines if line.startswith("front ")]
    return {arch: float(milliseconds) for _, arch, milliseconds in rows}


def backbone(arch):
    """Everything in front of the head, as `runner` freezes it."""
    model = getattr(torchvision.models, arch)(weights=None).eval()
    if hasattr(model, "fc"):
        model.fc = torch.nn.Identity()
        return model
    if arch.startswith("squeezenet"):
        return model.features
    return torch.nn.Sequential(model.features, model.avgpool)


def median_time(run):
    run()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        times.append((time.perf_counter() - started) * 1e3 / BATCH)
    return statistics.median(times)


def theirs(arch):
    model = backbone(arch).to(memory_format=torch.channels_last)
    pixels = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return median_time(lambda: model(pixels))


def onnx_session(arch):
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        pixels = torch.randn(BATCH, 3, SIDE, SIDE)
        torch.onnx.export(backbone(arch), (pixels,), path, dynamo=False, input_names=["pixels"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    archs = sys.argv[1:] or ["resnet18", "resnet50", "squeezenet1_1", "vgg16", "alexnet", "resnext50_32x4d"]
    torch.set_num_threads(THREADS)
    sessions = {arch: onnx_session(arch) for arch in archs}
    pixels = torch.randn(BATCH, 3, SIDE, SIDE).numpy()
    rounds = {arch: [] for arch in archs}
    for _ in range(ROUNDS):
        own = ours(archs)
        for arch in archs:
            session = sessions[arch]
            onnx = median_time(lambda: session.run(None, {"pixels": pixels})) if session else float("nan")
            rounds[arch].append((own[arch], theirs(arch), onnx))
    print("| milliseconds an image | runner | PyTorch | ONNX Runtime | runner / PyTorch | runner / ONNX Runtime |")
    print("|---|---:|---:|---:|---:|---:|")
    for arch, rows in rounds.items():
        columns = [statistics.median(column) for column in zip(*rows)]
        ratios = [statistics.median(row[0] / row[other] for row in rows) for other in (1, 2)]
        print(f"| {arch} | " + " | ".join(f"{value:.1f}" for value in columns) + " | " + " | ".join(f"{value:.2f}" for value in ratios) + " |")


if __name__ == "__main__":
    main()
