//! ResNet (He et al. 2015), ResNeXt (Xie et al. 2017) and wide ResNet (Zagoruyko & Komodakis 2016), as in torchvision
//! `models/resnet.py`.

use super::{
    super::paper::{Builder, Init, Kernel, LayerInit, MaxPool, PIXELS, Value},
    Entry, Published,
};

#[derive(Clone, Copy)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1 convolutions; the inner ones have `width_per_group / 64 * groups` times the planes of their stage.
    Bottleneck {
        groups: usize,
        width_per_group: usize,
    },
}

const PLAIN: Block = Block::Bottleneck {
    groups: 1,
    width_per_group: 64,
};
const WIDE: Block = Block::Bottleneck {
    groups: 1,
    width_per_group: 128,
};

const fn next(groups: usize, width_per_group: usize) -> Block {
    Block::Bottleneck {
        groups,
        width_per_group,
    }
}

pub(super) static ENTRIES: [Entry; 10] = [
    Entry::new("resnet18", |b, n| resnet(b, n, [2, 2, 2, 2], Block::Basic)).weights(&[
        Published::imagenet1k_v1("resnet18-f37072fd.pth", 44.661, 69.758).pinned(
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
            46_830_571,
        ),
    ]),
    Entry::new("resnet34", |b, n| resnet(b, n, [3, 4, 6, 3], Block::Basic)).weights(&[
        Published::imagenet1k_v1("resnet34-b627a593.pth", 83.275, 73.314).pinned(
            "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
            87_319_819,
        ),
    ]),
    Entry::new("resnet50", |b, n| resnet(b, n, [3, 4, 6, 3], PLAIN)).weights(&[
        Published::imagenet1k_v1("resnet50-0676ba61.pth", 97.781, 76.13).pinned(
            "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            102_530_333,
        ),
        Published::imagenet1k_v2("resnet50-11ad3fa6.pth", 97.79, 80.858).pinned(
            "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
            102_540_417,
        ),
    ]),
    Entry::new("resnet101", |b, n| resnet(b, n, [3, 4, 23, 3], PLAIN)).weights(&[
        Published::imagenet1k_v1("resnet101-63fe2227.pth", 170.511, 77.374),
        Published::imagenet1k_v2("resnet101-cd907fc2.pth", 170.53, 81.886),
    ]),
    Entry::new("resnet152", |b, n| resnet(b, n, [3, 8, 36, 3], PLAIN)).weights(&[
        Published::imagenet1k_v1("resnet152-394f9c45.pth", 230.434, 78.312),
        Published::imagenet1k_v2("resnet152-f82ba261.pth", 230.474, 82.284),
    ]),
    Entry::new("resnext50_32x4d", |b, n| resnet(b, n, [3, 4, 6, 3], next(32, 4))).weights(&[
        Published::imagenet1k_v1("resnext50_32x4d-7cdf4587.pth", 95.789, 77.618),
        Published::imagenet1k_v2("resnext50_32x4d-1a0047aa.pth", 95.833, 81.198),
    ]),
    Entry::new("resnext101_32x8d", |b, n| resnet(b, n, [3, 4, 23, 3], next(32, 8))).weights(&[
        Published::imagenet1k_v1("resnext101_32x8d-8ba56ff5.pth", 339.586, 79.312),
        Published::imagenet1k_v2("resnext101_32x8d-110c445d.pth", 339.673, 82.834),
    ]),
    Entry::new("resnext101_64x4d", |b, n| resnet(b, n, [3, 4, 23, 3], next(64, 4))).weights(&[
        Published::imagenet1k_v1("resnext101_64x4d-173b62eb.pth", 319.318, 83.246).shorter(232),
    ]),
    // The first files of the wide networks hold 16-bit floats.
    Entry::new("wide_resnet50_2", |b, n| resnet(b, n, [3, 4, 6, 3], WIDE)).weights(&[
        Published::imagenet1k_v1("wide_resnet50_2-95faca4d.pth", 131.82, 78.468).pinned(
            "95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
            138_223_492,
        ),
        Published::imagenet1k_v2("wide_resnet50_2-9ba9bcbe.pth", 263.124, 81.602),
    ]),
    Entry::new("wide_resnet101_2", |b, n| resnet(b, n, [3, 4, 23, 3], WIDE)).weights(&[
        Published::imagenet1k_v1("wide_resnet101_2-32ee1156.pth", 242.896, 78.848),
        Published::imagenet1k_v2("wide_resnet101_2-d733dc28.pth", 484.747, 82.51),
    ]),
];

/// `depths` are the numbers of blocks in `layer1` to `layer4`.
fn resnet(b: &mut Builder, n_classes: usize, depths: [usize; 4], block: Block) {
    b.conv_init(LayerInit::Weight(Init::KaimingNormalFanOut));
    let x = b.conv("conv1", PIXELS, 64, Kernel::new(7).stride(2));
    let x = b.batch_norm("bn1", x);
    let x = b.relu("relu", x);
    let mut x = b.max_pool("maxpool", x, MaxPool::new(3, 2).padding(1));
    for (stage, depth) in depths.into_iter().enumerate() {
        let planes = 64 << stage;
        x = b.sequence(format!("layer{}", stage + 1), depth, |b| {
            (0..depth).fold(x, |x, index| {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                b.module(index, |b| residual(b, x, planes, stride, block))
            })
        });
    }
    let x = b.adaptive_pool("avgpool", x, 1);
    b.linear("fc", x, n_classes);
}

/// A residual block: convolutions with batch norm, added to the input or to a 1x1 convolution of it.
fn residual(b: &mut Builder, x: Value, planes: usize, stride: usize, block: Block) -> Value {
    let (one, three) = (Kernel::new(1), Kernel::new(3));
    let convolutions = match block {
        Block::Basic => vec![(planes, three.stride(stride)), (planes, three)],
        Block::Bottleneck {
            groups,
            width_per_group,
        } => {
            let width = planes * width_per_group / 64 * groups;
            let inner = three.stride(stride).groups(groups);
            vec![(width, one), (width, inner), (4 * planes, one)]
        }
    };
    let mut y = x;
    for (index, (channels, kernel)) in (1..).zip(&convolutions) {
        y = b.conv(format!("conv{index}"), y, *channels, *kernel);
        y = b.batch_norm(format!("bn{index}"), y);
        if index < convolutions.len() {
            y = b.relu("relu", y);
        }
    }
    let channels = b.channels(y);
    let shortcut = if stride == 1 && b.channels(x) == channels {
        x
    } else {
        b.sequence("downsample", 2, |b| {
            let x = b.conv(0, x, channels, one.stride(stride));
            b.batch_norm(1, x)
        })
    };
    let sum = b.add(y, shortcut);
    b.relu("relu", sum)
}
