//! A plain interpreter of programs in f64 that the tests compare with. Knows nothing about kernels and buffers.

use super::super::tiles::Nhwc;
use super::{Layer, ProgramStep};

/// The result of `steps` for NHWC `input`, and its sizes.
pub(super) fn evaluate(steps: &[ProgramStep], input: &[f64], shape: Nhwc) -> (Vec<f64>, Nhwc) {
    let mut values = vec![(input.to_vec(), shape)];
    for step in steps {
        let inputs: Vec<_> = step.inputs.iter().map(|input| &values[*input]).collect();
        values.push(one(&step.layer, &inputs));
    }
    values.pop().unwrap()
}

fn one(layer: &Layer, inputs: &[&(Vec<f64>, Nhwc)]) -> (Vec<f64>, Nhwc) {
    let (input, shape) = inputs[0];
    match layer {
        Layer::Conv { .. } => convolve(layer, input, *shape),
        Layer::BatchNorm {
            weight,
            bias,
            mean,
            var,
            eps,
        } => {
            let values = input.iter().enumerate().map(|(index, value)| {
                let channel = index % shape.channels;
                let deviation = (f64::from(var[channel]) + eps).sqrt();
                (value - f64::from(mean[channel])) / deviation * f64::from(weight[channel])
                    + f64::from(bias[channel])
            });
            (values.collect(), *shape)
        }
        Layer::Relu => {
            let clamped = |value: &f64| if *value < 0.0 { 0.0 } else { *value };
            (input.iter().map(clamped).collect(), *shape)
        }
        Layer::MaxPool { .. } => max_pool(layer, input, *shape),
        Layer::AdaptivePool { side } => average(*side, input, *shape),
        Layer::Add => {
            let sums = input.iter().zip(&inputs[1].0).map(|(a, b)| a + b);
            (sums.collect(), *shape)
        }
        Layer::Concat => {
            let channels = inputs.iter().map(|input| input.1.channels).sum();
            let pixels = shape.n * shape.height * shape.width;
            let values = (0..pixels).flat_map(|pixel| {
                inputs.iter().flat_map(move |(values, shape)| {
                    &values[pixel * shape.channels..(pixel + 1) * shape.channels]
                })
            });
            (values.copied().collect(), shape.with_channels(channels))
        }
        Layer::Identity => (input.clone(), *shape),
    }
}

/// Calls `visit(image, y, x, pixel index)` for the pixels of a map.
fn visit_pixels(shape: Nhwc, mut visit: impl FnMut(usize, usize, usize, usize)) {
    for image in 0..shape.n {
        for y in 0..shape.height {
            for x in 0..shape.width {
                visit(image, y, x, shape.pixel(image, y, x));
            }
        }
    }
}

/// The place within a map of a place that counts padding; `None` in the padding.
fn inside(padded: usize, padding: usize, length: usize) -> Option<usize> {
    padded.checked_sub(padding).filter(|place| *place < length)
}

fn convolve(layer: &Layer, input: &[f64], shape: Nhwc) -> (Vec<f64>, Nhwc) {
    let Layer::Conv {
        weight,
        out_channels,
        in_channels,
        side,
        stride,
        padding,
        groups,
        bias,
    } = layer
    else {
        unreachable!();
    };
    let after = Nhwc {
        height: (shape.height + 2 * padding + stride).saturating_sub(*side) / stride,
        width: (shape.width + 2 * padding + stride).saturating_sub(*side) / stride,
        channels: *out_channels,
        ..shape
    };
    let (inputs, outputs) = (in_channels / groups, out_channels / groups);
    let mut values = vec![0.0; after.len()];
    visit_pixels(after, |image, y, x, to| {
        for output in 0..*out_channels {
            let mut sum = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
            for tap in 0..side * side {
                let from_y = inside(y * stride + tap / side, *padding, shape.height);
                let from_x = inside(x * stride + tap % side, *padding, shape.width);
                let (Some(from_y), Some(from_x)) = (from_y, from_x) else {
                    continue;
                };
                let from = shape.pixel(image, from_y, from_x) + output / outputs * inputs;
                for channel in 0..inputs {
                    let weight = weight[(output * inputs + channel) * side * side + tap];
                    sum += input[from + channel] * f64::from(weight);
                }
            }
            values[to + output] = sum;
        }
    });
    (values, after)
}

fn max_pool(layer: &Layer, input: &[f64], shape: Nhwc) -> (Vec<f64>, Nhwc) {
    let after = layer.max_pool().unwrap().after(shape);
    let Layer::MaxPool {
        side,
        stride,
        padding,
        ..
    } = *layer
    else {
        unreachable!();
    };
    let mut values = vec![f64::NEG_INFINITY; after.len()];
    visit_pixels(after, |image, y, x, to| {
        for tap in 0..side * side {
            let from_y = inside(y * stride + tap / side, padding, shape.height);
            let from_x = inside(x * stride + tap % side, padding, shape.width);
            let (Some(from_y), Some(from_x)) = (from_y, from_x) else {
                continue;
            };
            let from = shape.pixel(image, from_y, from_x);
            for channel in 0..shape.channels {
                let (value, next) = (&mut values[to + channel], input[from + channel]);
                if next > *value || next.is_nan() {
                    *value = next;
                }
            }
        }
    });
    (values, after)
}

fn average(side: usize, input: &[f64], shape: Nhwc) -> (Vec<f64>, Nhwc) {
    let after = Nhwc {
        height: side,
        width: side,
        ..shape
    };
    let mut values = vec![0.0; after.len()];
    let part = |place: usize, length: usize| {
        let end = ((place + 1) as f64 * length as f64 / side as f64).ceil() as usize;
        place * length / side..end
    };
    visit_pixels(after, |image, y, x, to| {
        let (rows, columns) = (part(y, shape.height), part(x, shape.width));
        let count = (rows.len() * columns.len()) as f64;
        for from_y in rows {
            for from_x in columns.clone() {
                let from = shape.pixel(image, from_y, from_x);
                for channel in 0..shape.channels {
                    values[to + channel] += input[from + channel] / count;
                }
            }
        }
    });
    (values, after)
}
