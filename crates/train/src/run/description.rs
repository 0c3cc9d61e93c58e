//! The description of a run in its log and in each of its checkpoints.

use super::Settings;
use alias_pictures::dataset::Dataset;
use serde::{Deserialize, Serialize};

/// The description of a run: in the first line of its log, and in the metadata of each checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDescription {
    /// Its settings.
    pub settings: Settings,
    /// Its dataset.
    pub data: DataSummary,
    /// Checksum of VGG-19's weights; None if the perceptual loss compares pixels.
    pub vgg_checksum: Option<String>,
}

/// Enough about a dataset to tell it from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// How many examples there are.
    pub examples: usize,
    /// Checksum of their names.
    pub names: String,
    /// Height and width of the files.
    pub size: [usize; 2],
}

impl DataSummary {
    /// Summarizes `dataset`.
    pub fn new(dataset: &Dataset) -> DataSummary {
        let mut names = crc32fast::Hasher::new();
        for index in 0..dataset.len() {
            names.update(dataset.name(index).as_bytes());
            names.update(b"\n");
        }
        let names = format!("{:08x}", names.finalize());
        DataSummary { examples: dataset.len(), names, size: dataset.stored_size() }
    }
}

impl std::fmt::Display for DataSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let DataSummary { examples, names, size: [height, width] } = self;
        write!(f, "{examples} examples of {height}x{width}, checksum of their names {names}")
    }
}
