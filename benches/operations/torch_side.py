"""The PyTorch half of `make bench-operations`: one operation per line on stdin, milliseconds forward and backward on stdout."""

import sys
import time

import torch
import torchvision
from torch import nn


def layer(kind: str, numbers: list[int]) -> nn.Module:
    if kind == "conv":
        inputs, _, outputs, side, stride, padding, groups, bias = numbers
        return nn.Conv2d(inputs, outputs, side, stride, padding, groups=groups, bias=bias == 1)
    if kind == "norm":
        return nn.BatchNorm2d(numbers[0])
    if kind == "eval_norm":
        return nn.BatchNorm2d(numbers[0]).eval().requires_grad_(False)
    if kind == "relu":
        return nn.ReLU(inplace=True)
    if kind == "max":
        return nn.MaxPool2d(numbers[2], numbers[3], numbers[4], ceil_mode=numbers[5] == 1)
    if kind == "mean":
        return nn.AdaptiveAvgPool2d(1)
    if kind == "layer4":
        network = torchvision.models.resnet50()
        return nn.Sequential(network.layer4, network.avgpool, nn.Flatten(), network.fc)
    if kind == "resnet18":
        return torchvision.models.resnet18()
    raise ValueError(kind)


def main() -> None:
    layers: dict[str, tuple[nn.Module, torch.Tensor]] = {}
    for line in sys.stdin:
        batch, n_threads, kind, *rest = line.split()
        torch.set_num_threads(int(n_threads))
        numbers = [int(word) for word in rest]
        if line not in layers:
            layers.clear()
            shape = {"layer4": (1024, 14), "resnet18": (3, 224)}.get(kind) or numbers[:2]
            channels, size = shape
            layers[line] = (layer(kind, numbers), torch.rand(int(batch), channels, size, size))
        module, values = layers[line]
        clock = time.process_time if n_threads == "1" else time.perf_counter
        is_network = kind in ("layer4", "resnet18")
        given = values if is_network else values.requires_grad_() * 1.0
        start = clock()
        output = module(given)
        forward = clock() - start
        ones = torch.ones_like(output)
        start = clock()
        output.backward(ones)
        backward = clock() - start
        module.zero_grad(set_to_none=True)
        values.grad = None
        print(forward * 1e3, backward * 1e3, flush=True)


main()
