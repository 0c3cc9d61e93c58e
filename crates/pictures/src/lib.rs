//! Pictures in files and in memory: reading and writing, data sets, sizes, scores, contact sheets.

pub mod dataset;
pub mod font;
pub mod images;
pub mod metrics;
pub mod resize;
pub mod sheet;
