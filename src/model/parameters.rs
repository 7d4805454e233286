//! The parameters and buffers of a network as they are read for files and hashes: one by one and without a copy where they are in
//! host memory.

use std::borrow::Cow;

use burn::tensor::Tensor;

use super::{
    host::{on_cpu, slice},
    paper::TensorSpec,
    tensor_file::TensorValues,
    transpose::visit_transposed,
};
use crate::device;

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

impl TensorValues for Parameter<'_> {
    fn shape(&self) -> Vec<usize> {
        self.spec.shape.clone()
    }

    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        let primitive;
        let values: Cow<[f32]> = if device::is_cpu(&self.values.device()) {
            primitive = on_cpu(self.values.clone());
            slice(&primitive)
        } else {
            let values = self.values.to_data().try_into_vec();
            values.expect("every parameter is f32").into()
        };
        match self.spec.shape[..] {
            // Burn keeps `[in, out]`, PyTorch `[out, in]`.
            [n_out, n_in] if self.spec.is_turned => {
                visit_transposed(&values, n_in, n_out, visitor);
            }
            _ => visitor(&values),
        }
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
