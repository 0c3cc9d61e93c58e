//! Limits against files that declare more than they hold.

/// Tensors and storages with longer names, in bytes, are refused. A pickle can mention a name of a megabyte a million
/// times, and each time it is compared with others.
pub(crate) const MAX_NAME: usize = 1024;

/// Headers, directories and pickles of more bytes are refused: they are read into memory, and a sparse file, which
/// takes no room on disk, can declare one that is larger than memory. 100 MB describe hundreds of thousands of tensors.
pub(crate) const MAX_DESCRIPTION: usize = 100_000_000;

/// No allocation is larger than twice the file plus this many bytes.
pub(crate) const SLACK: usize = 64 * 1024;
