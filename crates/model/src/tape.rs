//! A network on the tape: its forward pass, one operation after the other, with gradients of every tracked tensor.

mod activation;
mod conv;
mod module;
mod norm;
mod windows;

pub use module::{Feed, LabelFeed, Module, SharedConditions, SpadeMethod};
