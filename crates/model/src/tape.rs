//! A network on the tape: its forward pass, one operation after the other, with gradients of every tracked tensor.

mod activation;
mod conv;
mod feed;
mod forward;
mod module;
mod norm;
mod windows;

pub use feed::{Feed, LabelFeed};
pub use forward::{SharedConditions, SpadeMethod};
pub use module::Module;
