//! SqueezeNet (Iandola et al. 2016), as in torchvision `models/squeezenet.py`.

use super::{
    super::paper::{Builder, Init, Kernel, LayerInit, MaxPool, PIXELS, Value},
    Entry, Published,
};

/// A member of `features` behind the first convolution and its activation.
enum Member {
    /// A `Fire` module with this many channels in its `squeeze` layer.
    Fire(usize),
    Pool,
}

use Member::{Fire, Pool};

const V1_0: [Member; 11] = [
    Pool,
    Fire(16),
    Fire(16),
    Fire(32),
    Pool,
    Fire(32),
    Fire(48),
    Fire(48),
    Fire(64),
    Pool,
    Fire(64),
];

const V1_1: [Member; 11] = [
    Pool,
    Fire(16),
    Fire(16),
    Pool,
    Fire(32),
    Fire(32),
    Pool,
    Fire(48),
    Fire(48),
    Fire(64),
    Fire(64),
];

pub(super) static ENTRIES: [Entry; 2] = [
    Entry::new("squeezenet1_0", |b, n| {
        squeezenet(b, n, (96, Kernel::new(7)), V1_0);
    })
    .dropout(0.5)
    .min_size(21)
    .weights(&[Published::imagenet1k_v1(
        "squeezenet1_0-b66bff10.pth",
        4.778,
        58.092,
    )]),
    Entry::new("squeezenet1_1", |b, n| {
        squeezenet(b, n, (64, Kernel::new(3)), V1_1);
    })
    .dropout(0.5)
    .min_size(17)
    .weights(&[Published::imagenet1k_v1(
        "squeezenet1_1-b8a52dc0.pth",
        4.729,
        58.178,
    )
    .pinned(
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        4_958_839,
    )]),
];

fn squeezenet(
    b: &mut Builder,
    n_classes: usize,
    (channels, kernel): (usize, Kernel),
    members: [Member; 11],
) {
    b.conv_init(LayerInit::Weight(Init::KaimingUniformFanIn));
    let x = b.sequence("features", members.len() + 2, |b| {
        let x = b.conv_bias(0, PIXELS, channels, kernel.stride(2).padding(0));
        let x = b.relu(1, x);
        let members = members.into_iter().enumerate();
        members.fold(x, |x, (index, member)| match member {
            Fire(squeeze) => b.module(index + 2, |b| fire(b, x, squeeze)),
            Pool => b.max_pool(index + 2, x, MaxPool::new(3, 2).ceil()),
        })
    });
    b.sequence("classifier", 4, |b| {
        b.conv_init(LayerInit::Weight(Init::Normal { std: 0.01 }));
        let x = b.dropout(0, x);
        let x = b.conv_bias(1, x, n_classes, Kernel::new(1));
        let x = b.relu(2, x);
        b.adaptive_pool(3, x, 1)
    });
}

/// Squeezes the channels with a 1x1 convolution, and expands them with a 1x1 and a 3x3 convolution side by side.
fn fire(b: &mut Builder, x: Value, squeeze: usize) -> Value {
    let expand = 4 * squeeze;
    let x = b.conv_bias("squeeze", x, squeeze, Kernel::new(1));
    let x = b.relu("squeeze_activation", x);
    let one = b.conv_bias("expand1x1", x, expand, Kernel::new(1));
    let one = b.relu("expand1x1_activation", one);
    let three = b.conv_bias("expand3x3", x, expand, Kernel::new(3));
    let three = b.relu("expand3x3_activation", three);
    b.concat(&[one, three])
}
