//! What the `tryon` command is made of, besides the model: pictures in and out, datasets, drawn scenes, contact sheets, metrics,
//! training runs.

pub mod dataset;
mod font;
pub mod images;
pub mod metrics;
pub mod resize;
pub mod scene;
pub mod sheet;
pub mod training;
