//! VGG with and without batch norm (Simonyan & Zisserman 2014, table 1, columns A, B, D, E; torchvision `models/vgg.py`), and VGG16
//! at one eighth of the width.

use super::{
    super::paper::{Builder, Init, Kernel, LayerInit, MaxPool, PIXELS},
    Entry, Published,
};
use crate::config::experiment::Normalize;

/// The backbone that this project trained itself; `configs/assets/drawings_v1.toml` made it.
const DRAWINGS_V1: &[u8] =
    include_bytes!("../../../assets/vgg16_slim_drawings_v1.safetensors");

struct Vgg {
    /// Convolutions in each of the five blocks.
    depths: [usize; 5],
    has_batch_norm: bool,
    /// How much narrower than in the paper.
    narrower: usize,
    hidden_features: usize,
}

const fn plain(depths: [usize; 5]) -> Vgg {
    Vgg {
        depths,
        has_batch_norm: false,
        narrower: 1,
        hidden_features: 4096,
    }
}

const fn with_batch_norm(depths: [usize; 5]) -> Vgg {
    Vgg {
        has_batch_norm: true,
        ..plain(depths)
    }
}

const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];
const SLIM: Vgg = Vgg {
    narrower: 8,
    hidden_features: 512,
    ..plain(D)
};

pub(super) static ENTRIES: [Entry; 9] = [
    entry("vgg11", |b, n| vgg(b, n, &plain(A))).weights(&[Published::imagenet1k_v1(
        "vgg11-8a719046.pth",
        506.84,
        69.02,
    )]),
    entry("vgg13", |b, n| vgg(b, n, &plain(B))).weights(&[Published::imagenet1k_v1(
        "vgg13-19584684.pth",
        507.545,
        69.928,
    )]),
    entry("vgg16", |b, n| vgg(b, n, &plain(D))).weights(&[
        Published::imagenet1k_v1("vgg16-397923af.pth", 527.796, 71.592).pinned(
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            553_433_881,
        ),
        // Caffe's weights. The file has a classifier, full of NaN.
        Published::file(
            "imagenet1k_features",
            "vgg16_features-amdegroot-88682ab5.pth",
            527.802,
        )
        .lacks("classifier.")
        // Its pixels are centered but keep their range of 0 to 255.
        .normalize(Normalize {
            mean: [0.48235, 0.45882, 0.40784],
            std: [1.0 / 255.0; 3],
        }),
    ]),
    entry("vgg19", |b, n| vgg(b, n, &plain(E))).weights(&[Published::imagenet1k_v1(
        "vgg19-dcbb9e9d.pth",
        548.051,
        72.376,
    )
    .pinned(
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        574_673_361,
    )]),
    entry("vgg11_bn", |b, n| vgg(b, n, &with_batch_norm(A))).weights(&[
        Published::imagenet1k_v1("vgg11_bn-6002323d.pth", 506.881, 70.37),
    ]),
    entry("vgg13_bn", |b, n| vgg(b, n, &with_batch_norm(B))).weights(&[
        Published::imagenet1k_v1("vgg13_bn-abd245e5.pth", 507.59, 71.586),
    ]),
    entry("vgg16_bn", |b, n| vgg(b, n, &with_batch_norm(D))).weights(&[
        Published::imagenet1k_v1("vgg16_bn-6c64b313.pth", 527.866, 73.36).pinned(
            "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
            553_507_836,
        ),
    ]),
    entry("vgg19_bn", |b, n| vgg(b, n, &with_batch_norm(E))).weights(&[
        Published::imagenet1k_v1("vgg19_bn-c79401a0.pth", 548.143, 74.218).pinned(
            "c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6",
            574_769_405,
        ),
    ]),
    entry("vgg16_slim", |b, n| vgg(b, n, &SLIM))
        .weights(&[Published::embedded("drawings_v1", DRAWINGS_V1).lacks("classifier.")]),
];

const fn entry(name: &'static str, build: fn(&mut Builder, usize)) -> Entry {
    Entry::new(name, build).dropout(0.5).min_size(32)
}

fn vgg(b: &mut Builder, n_classes: usize, vgg: &Vgg) {
    b.conv_init(LayerInit::Weight(Init::KaimingNormalFanOut));
    b.linear_init(LayerInit::Weight(Init::Normal { std: 0.01 }));
    let norms = usize::from(vgg.has_batch_norm);
    let n_features: usize = vgg.depths.iter().map(|depth| depth * (2 + norms) + 1).sum();
    let x = b.sequence("features", n_features, |b| {
        let (mut x, mut index) = (PIXELS, 0..);
        let mut next = move || index.next().unwrap_or_default();
        for (depth, width) in vgg.depths.into_iter().zip([64, 128, 256, 512, 512]) {
            for _ in 0..depth {
                x = b.conv_bias(next(), x, width / vgg.narrower, Kernel::new(3));
                if vgg.has_batch_norm {
                    x = b.batch_norm(next(), x);
                }
                x = b.relu(next(), x);
            }
            x = b.max_pool(next(), x, MaxPool::new(2, 2));
        }
        x
    });
    let x = b.adaptive_pool("avgpool", x, 7);
    b.sequence("classifier", 7, |b| {
        let x = b.linear(0, x, vgg.hidden_features);
        let x = b.relu(1, x);
        let x = b.dropout(2, x);
        let x = b.linear(3, x, vgg.hidden_features);
        let x = b.relu(4, x);
        let x = b.dropout(5, x);
        b.linear(6, x, n_classes)
    });
}
