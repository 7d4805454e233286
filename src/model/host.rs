//! Access to the values of tensors in host memory, without copies where the layout allows.

use std::borrow::Cow;

use burn::{
    backend::{Autodiff, Flex, tensor::FloatTensor},
    tensor::{Shape, Tensor, TensorData},
};

use super::state::HostTensor;
use crate::kernels::buffer;

/// The number of values that a task copies.
const COPIED_AT_ONCE: usize = 1 << 14;

/// The primitive of a tensor on the CPU without gradients. Panics on other devices, so the caller must check the device.
pub(crate) fn on_cpu<const D: usize>(tensor: Tensor<D>) -> FloatTensor<Flex> {
    tensor
        .try_into_primitive::<Flex>()
        .expect("the device is the CPU, and gradients are not recorded")
}

/// The primitive of a tensor on the CPU that records gradients.
pub(crate) fn recorded<const D: usize>(tensor: Tensor<D>) -> FloatTensor<Autodiff<Flex>> {
    tensor
        .try_into_primitive::<Autodiff<Flex>>()
        .expect("the device is the CPU, and gradients are recorded")
}

/// The values in row-major order.
pub(crate) fn slice(tensor: &FloatTensor<Flex>) -> Cow<'_, [f32]> {
    if let Some(values) = tensor.as_slice() {
        return values.into();
    }
    let values = tensor.to_contiguous();
    values
        .as_slice::<f32>()
        .expect("the copy is contiguous, and the model computes in f32")
        .to_vec()
        .into()
}

/// The values in row-major order, to be written in place. They are copied first if they are not contiguous or are shared.
pub(crate) fn slice_mut(tensor: &mut FloatTensor<Flex>) -> &mut [f32] {
    let is_plain = tensor
        .as_slice::<f32>()
        .is_some_and(|values| values.len() == tensor.storage::<f32>().len());
    if !(is_plain && tensor.is_unique()) {
        let values = slice(tensor);
        let copy = buffer::computed(values.len(), COPIED_AT_ONCE, |index, part| {
            part.copy_from_slice(&values[index * COPIED_AT_ONCE..][..part.len()]);
        });
        drop(values);
        *tensor = from_vec(copy, tensor.layout().shape().clone());
    }
    tensor.storage_mut()
}

pub(crate) fn from_vec(values: Vec<f32>, shape: impl Into<Shape>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

/// Copies a tensor of any device to the host.
pub(super) fn to_host<const D: usize>(tensor: Tensor<D>) -> HostTensor {
    let shape = tensor.dims().to_vec();
    let values = tensor
        .into_data()
        .try_into_vec()
        .expect("every parameter is f32");
    HostTensor { shape, values }
}
