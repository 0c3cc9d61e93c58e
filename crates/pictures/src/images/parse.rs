//! From a parse map's labels to the generator's seven classes.

use super::{Error, Plane, Result};
use alias_model::CLASSES;
use alias_model::preprocess::labels::LIP_TO_7;
use std::path::Path;

/// Which labels a parse map holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParseLabels {
    /// LIP's if any index is over 6, else the seven classes.
    #[default]
    Auto,
    /// The seven classes as they are.
    Seven,
    /// The 20 labels of the LIP data set, which VITON-HD's parse maps hold.
    Lip,
}

/// The seven classes of a parse map; `path` is its file, for errors.
///
/// # Errors
/// [`Error::Label`] where an index is none of the labels.
pub fn labels_from_parse(indices: &Plane<u8>, labels: ParseLabels, path: &Path) -> Result<Plane<u8>> {
    let lip = match labels {
        ParseLabels::Auto => indices.data.iter().any(|&v| v >= CLASSES),
        ParseLabels::Seven => false,
        ParseLabels::Lip => true,
    };
    let classes = if lip { LIP_TO_7.len() as u8 } else { CLASSES };
    if let Some(i) = indices.data.iter().position(|&v| v >= classes) {
        let (x, y) = (i % indices.width, i / indices.width);
        return Err(Error::Label { path: path.into(), value: indices.data[i], x, y, classes });
    }
    let class = |&v: &u8| if lip { LIP_TO_7[usize::from(v)] } else { v };
    Ok(Plane { data: indices.data.iter().map(class).collect(), ..*indices })
}
