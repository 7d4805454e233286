//! The parameters and buffers of a network as they are read for files and hashes: one by one and without a copy where they are in
//! host memory. A copy can be taken of them while training continues.

use burn::tensor::Tensor;

use super::{
    host::{on_cpu, slice},
    paper::TensorSpec,
    tensor_file::TensorValues,
    transpose::visit_transposed,
};
use crate::{device, kernels::buffer};

/// The number of values that a task copies.
const COPIED_AT_ONCE: usize = 1 << 14;

/// A parameter or buffer of a network, in PyTorch's shape.
pub(crate) struct Parameter<'a> {
    pub(super) spec: &'a TensorSpec,
    /// The values in Burn's order, without gradients.
    pub(super) values: Tensor<1>,
}

impl Parameter<'_> {
    pub(crate) fn path(&self) -> &str {
        &self.spec.path
    }

    /// Passes all values to `work`, in Burn's order.
    pub(crate) fn with_values<T>(&self, work: impl FnOnce(&[f32]) -> T) -> T {
        if device::is_cpu(&self.values.device()) {
            work(&slice(&on_cpu(self.values.clone())))
        } else {
            let values: Vec<f32> = self
                .values
                .to_data()
                .try_into_vec()
                .expect("every parameter is f32");
            work(&values)
        }
    }

    /// Copies the values to host memory.
    pub(crate) fn copied(&self) -> ParameterCopy {
        ParameterCopy {
            spec: self.spec.clone(),
            values: self.with_values(|values| {
                buffer::computed(values.len(), COPIED_AT_ONCE, |index, part| {
                    part.copy_from_slice(&values[index * COPIED_AT_ONCE..][..part.len()]);
                })
            }),
        }
    }

    /// The same parameter without its network. It shares the memory, so a network that is trained meanwhile copies the parameter.
    pub(crate) fn owned(&self) -> OwnedParameter {
        OwnedParameter {
            spec: self.spec.clone(),
            values: self.values.clone(),
        }
    }
}

/// A parameter or buffer without its network, in PyTorch's shape.
pub(crate) struct OwnedParameter {
    spec: TensorSpec,
    values: Tensor<1>,
}

impl TensorValues for OwnedParameter {
    fn shape(&self) -> Vec<usize> {
        self.spec.shape.clone()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        let (spec, values) = (&self.spec, self.values.clone());
        Parameter { spec, values }.visit(visitor);
    }
}

/// The values that a parameter or buffer had at one moment.
pub(crate) struct ParameterCopy {
    spec: TensorSpec,
    /// In Burn's order.
    values: Vec<f32>,
}

impl ParameterCopy {
    pub(crate) fn path(&self) -> &str {
        &self.spec.path
    }
}

impl TensorValues for ParameterCopy {
    fn shape(&self) -> Vec<usize> {
        self.spec.shape.clone()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        visit_in_file_order(&self.spec, &self.values, visitor);
    }
}

impl TensorValues for Parameter<'_> {
    fn shape(&self) -> Vec<usize> {
        self.spec.shape.clone()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        self.with_values(|values| visit_in_file_order(self.spec, values, visitor));
    }
}

/// Passes values in Burn's order to `visitor` in PyTorch's.
fn visit_in_file_order(spec: &TensorSpec, values: &[f32], visitor: &mut dyn FnMut(&[f32])) {
    match spec.shape[..] {
        // Burn keeps `[in, out]`, PyTorch `[out, in]`.
        [n_out, n_in] if spec.is_turned => visit_transposed(values, n_in, n_out, visitor),
        _ => visitor(values),
    }
}

/// The values of a tensor of any shape, without gradients.
pub(super) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let tensor = if tensor.device().is_autodiff() {
        tensor.inner()
    } else {
        tensor
    };
    let n_values = tensor.shape().num_elements();
    tensor.reshape([n_values])
}
