//! Tests of programs against an interpreter in f64, and of their bit-for-bit repeatability.

use super::super::reference::{bits, in_threads, random_values};
use super::super::window::SlidingWindow;
use super::networks::{NETWORKS, Sizes, Steps, assert_agrees, fire, plain, residual, tangled};
use super::stages::Place;
use super::{Layer, Program};

#[test]
fn programs_agree_with_their_steps_one_by_one() {
    for (name, build) in NETWORKS {
        for (height, width) in [(64, 64), (63, 70), (97, 66)] {
            assert_agrees(name, build, (2, height, width));
        }
    }
    for (height, width) in [(17, 33), (8, 8), (4, 5)] {
        assert_agrees("plain", plain, (3, height, width));
        assert_agrees("tangled", tangled, (3, height, width));
    }
}

#[test]
fn convolutions_of_any_window_agree_with_plain_sums() {
    for side in [1, 3, 5, 7, 11] {
        for stride in [1, 2, 4] {
            for padding in [0, 1, side / 2] {
                for (channels, out, groups) in [
                    (3, 5, 1),
                    (3, 70, 1),
                    (6, 20, 2),
                    (64, 96, 32),
                    (64, 64, 16),
                    (32, 32, 4),
                    (48, 48, 24),
                    (32, 32, 32),
                    (48, 36, 3),
                ] {
                    let sizes = Sizes(out, side, stride, padding, groups);
                    let build = || {
                        let mut steps = Steps::default();
                        let value = steps.conv(0, 3, Sizes(channels, 1, 1, 0, 1), true);
                        steps.conv(value, channels, sizes, true);
                        steps
                    };
                    assert_agrees(&format!("{channels} to {sizes:?}"), build, (2, 13, 12));
                }
            }
        }
    }
}

#[test]
fn a_sum_longer_than_one_product_agrees_with_a_plain_one() {
    let build = || {
        let mut steps = Steps::default();
        let value = steps.conv(0, 3, Sizes(700, 1, 1, 0, 1), true);
        let value = steps.conv(value, 700, Sizes(20, 1, 1, 0, 1), true);
        let value = steps.conv(value, 20, Sizes(300, 1, 1, 0, 1), true);
        steps.conv(value, 300, Sizes(30, 3, 2, 1, 1), false);
        steps
    };
    assert_agrees("deep", build, (2, 5, 3));
}

#[test]
fn poolings_agree_with_plain_ones() {
    for (height, width) in [(2, 2), (3, 4), (7, 8), (13, 9)] {
        for (side, stride, padding) in [
            (2, 2, 0),
            (3, 2, 0),
            (3, 2, 1),
            (3, 1, 1),
            (2, 3, 1),
            (2, 1, 0),
        ] {
            for ceil in [false, true] {
                let build = || {
                    let mut steps = Steps::default();
                    steps.pool(0, side, stride, padding, ceil);
                    steps
                };
                if height >= side {
                    let name = format!("max pool {side}/{stride}/{padding} {ceil}");
                    assert_agrees(&name, build, (3, height, width));
                }
            }
        }
        for side in [1, 2, 6, 7] {
            let build = || {
                let mut steps = Steps::default();
                steps.push(Layer::AdaptivePool { side }, &[0]);
                steps
            };
            assert_agrees(&format!("adaptive pool {side}"), build, (3, height, width));
        }
    }
}

#[test]
fn the_last_window_of_a_rounded_up_pooling_starts_inside() {
    let window = |side, stride, padding| SlidingWindow {
        side,
        stride,
        padding,
    };
    // As `torch.nn.functional.max_pool2d(torch.zeros(1, 1, length, length), ..., ceil_mode=True)` gives.
    for (length, side, stride, padding, places) in [
        (5, 3, 2, 0, 2),
        (6, 3, 2, 0, 3),
        (2, 3, 2, 0, 1),
        (5, 2, 2, 1, 3),
        (4, 2, 3, 1, 2),
        (3, 2, 3, 1, 2),
        (2, 2, 3, 1, 1),
    ] {
        assert_eq!(
            window(side, stride, padding).places_rounded_up(length),
            places,
            "{length}: {side}, {stride}, {padding}"
        );
    }
    assert_eq!(window(3, 2, 0).places(2), 0);
}

#[test]
fn an_image_has_the_same_bits_in_every_batch_and_with_any_number_of_threads() {
    for (name, build) in NETWORKS {
        let program = Program::new(3, build().0);
        for (height, width) in [(64, 64), (35, 49)] {
            let image = 3 * height * width;
            let input = random_values(1, 16 * image, false);
            let whole = in_threads(1, || program.forward(&input, 16, height, width));
            let result = whole.values.len() / 16;
            for threads in [1, 2, 5] {
                for (first, n) in [(0, 16), (0, 1), (7, 1), (15, 1), (4, 3)] {
                    let images = &input[first * image..(first + n) * image];
                    let part = in_threads(threads, || program.forward(images, n, height, width));
                    let expected = &whole.values[first * result..(first + n) * result];
                    assert!(
                        bits(&part.values) == bits(expected),
                        "{name} of {height}x{width}: images {first}.. of {n}, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn a_pixel_of_a_convolution_has_the_same_bits_in_every_batch() {
    // One pixel an image: the gemm crate sums a lone column in another order.
    for (channels, side, stride, groups) in [
        (600, 1, 1, 1),
        (64, 3, 2, 1),
        (2, 1, 1, 1),
        (64, 3, 1, 16),
        (48, 3, 1, 12),
    ] {
        let mut steps = Steps::default();
        let value = steps.conv(0, 3, Sizes(channels, 1, 1, 0, 1), true);
        steps.conv(
            value,
            channels,
            Sizes(48, side, stride, side / 2, groups),
            true,
        );
        let program = Program::new(3, steps.0);
        let input = random_values(1, 50 * 3, false);
        let whole = program.forward(&input, 50, 1, 1);
        for n in [1, 2, 7, 49] {
            let part = program.forward(&input[..n * 3], n, 1, 1);
            assert!(
                bits(&part.values) == bits(&whole.values[..n * 48]),
                "{channels}, {side}, {stride}, {groups}: {n} images"
            );
        }
    }
}

#[test]
fn groups_of_images_give_the_same_bits_as_the_whole_batch() {
    let steps = || {
        let mut steps = Steps::default();
        let value = steps.conv(0, 3, Sizes(64, 3, 1, 1, 1), true);
        let value = steps.conv(value, 64, Sizes(64, 1, 1, 0, 1), true);
        steps.pool(value, 4, 4, 0, false);
        steps
    };
    // One image takes 2 * 64 * 260 * 260 values, more than GROUP_VALUES.
    let input = random_values(1, 3 * 3 * 260 * 260, false);
    let program = Program::new(3, steps().0);
    let whole = program.forward(&input, 3, 260, 260);
    let last = program.forward(&input[2 * 3 * 260 * 260..], 1, 260, 260);
    let n = last.values.len();
    assert!(bits(&whole.values[2 * n..]) == bits(&last.values));
}

#[test]
fn a_program_without_steps_returns_its_input() {
    let input = random_values(1, 2 * 3 * 4 * 5, false);
    assert_eq!(Steps::default().run(&input, 2, 4, 5).values, input);
    let mut steps = Steps::default();
    steps.push(Layer::Identity, &[0]);
    let activations = steps.run(&input, 2, 4, 5);
    assert_eq!(activations.values, input);
    assert_eq!(
        (activations.channels, activations.height, activations.width),
        (3, 4, 5)
    );
}

#[test]
fn no_images_give_no_values() {
    for (name, build) in NETWORKS {
        assert!(build().run(&[], 0, 64, 64).values.is_empty(), "{name}");
    }
}

#[test]
fn a_nan_reaches_the_output_of_every_layer() {
    for (name, build) in NETWORKS {
        let input = vec![f32::NAN; 2 * 3 * 64 * 64];
        let values = build().run(&input, 2, 64, 64).values;
        assert!(values.iter().all(|value| value.is_nan()), "{name}");
    }
}

#[test]
fn a_nan_wins_a_max_pool_wherever_it_stands() {
    for at in 0..9 {
        let mut input = vec![0.0; 3 * 9];
        input[at] = f32::NAN;
        let mut steps = Steps::default();
        steps.pool(0, 3, 1, 0, false);
        let values = steps.run(&input, 1, 3, 3).values;
        assert!(
            values[0].is_nan() && !values[1].is_nan(),
            "{at}: {values:?}"
        );
    }
}

#[test]
fn added_values_and_batch_norm_are_fused_into_convolutions() {
    let program = Program::new(3, residual().0);
    // Stem, pooling, three bottlenecks of three convolutions with two shortcuts, a basic block, pooling.
    assert_eq!(program.operations.len(), 2 + 9 + 2 + 2 + 1);
    let program = Program::new(3, fire().0);
    // Stem, pooling, two modules of three convolutions and a concatenation, pooling, classifier, pooling.
    assert_eq!(program.operations.len(), 2 + 8 + 3);
    // The stem with its pooling, the first module with the pooling behind the second, the classifier.
    assert_eq!(program.plan.stages.len(), 3);
    let slots = |program: &Program| {
        let places = program.plan.stages.iter().flat_map(|stage| &stage.places);
        let outputs = places.map(|places| match places.output {
            Place::Slot(slot) => slot + 1,
            _ => 0,
        });
        outputs.max().unwrap_or(0)
    };
    // A fire module's input, its squeezed map and its output.
    assert!(slots(&program) <= 3, "{}", slots(&program));
    assert_eq!(slots(&Program::new(3, plain().0)), 1);
}
