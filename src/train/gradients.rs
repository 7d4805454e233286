//! Operations over all gradients of a step: the check that they are finite, and clipping by their global norm.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use super::optimizer::StepGradients;
use crate::{
    device::is_cpu,
    model::host::{on_cpu, slice},
};

/// Scales all gradients so that their global L2 norm is at most `max_norm`; as `torch.nn.utils.clip_grad_norm_`,
/// whose 1e-6 avoids a division by zero. Returns the norm before clipping.
pub(crate) fn clip_grad_norm<M: Module>(
    module: &M,
    gradients: &mut GradientsParams,
    max_norm: f64,
) -> f64 {
    let mut squares = SumOfSquares {
        gradients,
        sum: 0.0,
    };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        module.visit(&mut Scale { gradients, factor });
    }
    norm
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

/// Whether all gradients of the step are finite. For a factored gradient the factors are checked.
pub(super) fn are_finite<M: Module>(module: &M, gradients: &StepGradients) -> bool {
    let mut factors = gradients.factored.values();
    if !factors.all(|factors| {
        all_finite(&slice(&factors.input)) && all_finite(&slice(&factors.output_gradient))
    }) {
        return false;
    }
    let mut finite = Finite {
        gradients: &gradients.whole,
        on_device: None,
        is_broken: false,
    };
    module.visit(&mut finite);
    let on_device = finite.on_device.map_or(0.0, Tensor::into_scalar::<f32>);
    !finite.is_broken && on_device == 0.0
}

struct Finite<'a> {
    gradients: &'a GradientsParams,
    /// 0 if all gradients that are not on the CPU are finite, else NaN. Summed on the device, so that it is read only once.
    on_device: Option<Tensor<1>>,
    is_broken: bool,
}

impl ModuleVisitor for Finite<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else {
            return;
        };
        if is_cpu(&gradient.device()) {
            self.is_broken |= !all_finite(&slice(&on_cpu(gradient)));
        } else {
            // 0 times infinity or NaN is NaN; 0 times a finite number is 0.
            let zero = (gradient * 0.0).sum();
            self.on_device = Some(match self.on_device.take() {
                Some(sum) => sum + zero,
                None => zero,
            });
        }
    }
}

/// Checks the exponent bits, many values at a time: a value is infinite or NaN if and only if all of them are set.
pub(super) fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_broken = |value: &f32| u32::from(value.to_bits() & EXPONENT == EXPONENT);
    let mut chunks = values.chunks(1 << 12);
    chunks.all(|chunk| chunk.iter().map(is_broken).sum::<u32>() == 0)
}

#[cfg(test)]
mod tests {
    use super::all_finite;

    #[test]
    fn one_value_that_is_not_finite_is_found_wherever_it_is() {
        let mut values = vec![f32::MAX; 10_000];
        assert!(
            all_finite(&values) && all_finite(&[]) && all_finite(&[0.0, -0.0, f32::MIN_POSITIVE])
        );
        for (at, value) in [
            (0, f32::NAN),
            (4096, f32::INFINITY),
            (9999, f32::NEG_INFINITY),
        ] {
            let sound = std::mem::replace(&mut values[at], value);
            assert!(!all_finite(&values), "{at}");
            values[at] = sound;
        }
    }
}
