//! What the `tryon` command is made of, besides the model: pictures in and out, drawn scenes, contact sheets, metrics.

pub mod dataset;
pub mod images;
pub mod metrics;
pub mod scene;
pub mod sheet;
