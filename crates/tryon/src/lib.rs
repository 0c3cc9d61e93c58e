//! What the `tryon` command is made of, besides the model: pictures in and out, drawn scenes, contact sheets.

pub mod dataset;
pub mod images;
pub mod scene;
pub mod sheet;
