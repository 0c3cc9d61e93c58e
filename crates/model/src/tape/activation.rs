//! Activations on the tape.

use crate::network::Activation;
use alias_kernels::{leaky_relu, relu, sigmoid, tanh};
use alias_tensor::{Result, Tensor};

pub(super) fn activate(x: Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x),
        Activation::LeakyRelu { slope: 0.0 } => relu(&x),
        Activation::LeakyRelu { slope } => leaky_relu(&x, slope),
        Activation::Tanh => tanh(&x),
        Activation::Sigmoid => sigmoid(&x),
    }
}
