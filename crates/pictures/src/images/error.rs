//! What can be wrong with a picture file.

use std::path::PathBuf;

/// The result of reading or writing a picture.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a picture file. Each message names the file and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, created or renamed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file begins like a picture of this format but is not a whole, valid one.
    #[error("{}: not a readable {format}: {cause}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What it begins like.
        format: &'static str,
        /// Why.
        cause: String,
    },
    /// The file is no picture of a format that is read. Its content counts, not its name.
    #[error("{}: this is {found}; {remedy}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What its content is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A picture that shows nothing.
    #[error("{}: every pixel is transparent, so there is nothing to see; save the picture without transparency", path.display())]
    Transparent {
        /// The file.
        path: PathBuf,
    },
    /// The picture could not be written.
    #[error("{}: cannot write the picture: {cause}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The header declares more pixels than a picture may have.
    #[error("{}: {height}x{width} (height x width) are more than the {limit} pixels allowed; scale the picture down", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
        /// The most pixels allowed.
        limit: u64,
    },
    /// A parse map that holds colours instead of indices.
    #[error(
        "{}: a parse map must hold one class index per pixel, but this is {found}; \
         save it as a palette (indexed) or 8-bit gray PNG whose values are the class indices", path.display()
    )]
    NotIndices {
        /// The file.
        path: PathBuf,
        /// What the file is instead.
        found: String,
    },
    /// A parse map with an index outside its set of classes.
    #[error(
        "{}: label {value} at column {x}, row {y} is not one of the {classes} classes (0 to {})",
        path.display(), classes - 1
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The index found.
        value: u8,
        /// Its column.
        x: usize,
        /// Its row.
        y: usize,
        /// How many classes there are.
        classes: u8,
    },
    /// Two files of one sample differ in size.
    #[error(
        "{} is {height}x{width} (height x width) but {} is {other_height}x{other_width}; all pictures of a sample must be \
         of one size",
        path.display(), other.display()
    )]
    Sizes {
        /// One file.
        path: PathBuf,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The other file.
        other: PathBuf,
        /// Its width.
        other_width: usize,
        /// Its height.
        other_height: usize,
    },
    /// A picture to be written holds something that is not a number.
    #[error("{}: not written: the {channel} value at column {x}, row {y} is not a number", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// "red", "green" or "blue".
        channel: &'static str,
        /// The column.
        x: usize,
        /// The row.
        y: usize,
    },
}
