//! AlexNet in the version with one tower (Krizhevsky 2014), as in torchvision `models/alexnet.py`.

use super::{
    super::paper::{Builder, Kernel, MaxPool, PIXELS},
    Entry, Published,
};

pub(super) static ENTRIES: [Entry; 1] = [Entry::new("alexnet", alexnet)
    .dropout(0.5)
    .min_size(63)
    .weights(&[Published::imagenet1k_v1(
        "alexnet-owt-7be5be79.pth",
        233.087,
        56.522,
    )])];

fn alexnet(b: &mut Builder, n_classes: usize) {
    let pool = MaxPool::new(3, 2);
    let x = b.sequence("features", 13, |b| {
        let x = b.conv_bias(0, PIXELS, 64, Kernel::new(11).stride(4).padding(2));
        let x = b.relu(1, x);
        let x = b.max_pool(2, x, pool);
        let x = b.conv_bias(3, x, 192, Kernel::new(5));
        let x = b.relu(4, x);
        let x = b.max_pool(5, x, pool);
        let x = b.conv_bias(6, x, 384, Kernel::new(3));
        let x = b.relu(7, x);
        let x = b.conv_bias(8, x, 256, Kernel::new(3));
        let x = b.relu(9, x);
        let x = b.conv_bias(10, x, 256, Kernel::new(3));
        let x = b.relu(11, x);
        b.max_pool(12, x, pool)
    });
    let x = b.adaptive_pool("avgpool", x, 6);
    b.sequence("classifier", 7, |b| {
        let x = b.dropout(0, x);
        let x = b.linear(1, x, 4096);
        let x = b.relu(2, x);
        let x = b.dropout(3, x);
        let x = b.linear(4, x, 4096);
        let x = b.relu(5, x);
        b.linear(6, x, n_classes)
    });
}
