//! Checkpoints: named tensors in a file.
//!
//! Reads safetensors and both of PyTorch's containers: the zip file of version 1.6 and later, and the one before it.
//! Writes safetensors.
//!
//! ```
//! use alias_checkpoint::{Array, Checkpoint};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.safetensors");
//! let mut checkpoint = Checkpoint::new();
//! checkpoint.insert("conv.weight", Array::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
//! checkpoint.insert("conv.bias", Array::from_f32(&[2], &[0.5, -0.5]));
//! checkpoint.write_safetensors(&path)?;
//!
//! let checkpoint = Checkpoint::read(&path)?; // a file of torch.save is read the same way
//! for (name, array) in checkpoint.iter() {
//!     println!("{name}: {:?} {:?}", array.dtype(), array.shape());
//! }
//! let bias = checkpoint.get("conv.bias").ok_or("no conv.bias")?;
//! assert_eq!(bias.to_f32()?, [0.5, -0.5]); // only now are the values read
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Files need not be trusted. A pickle is a program: the reader in `pickle/` runs the few instructions that build a
//! state dict and refuses all others. A file that contradicts itself gives an error, never a panic. No allocation is
//! larger than twice the file plus 64 KiB, whatever sizes the file declares, unless values are converted to a wider
//! type. A file that is changed or cut short while it is open gives an error or other values: the crate has no unsafe
//! code and does not map files into memory.
//!
//! | file | contents |
//! |---|---|
//! | `checkpoint.rs` | named tensors |
//! | `read.rs` | reads and writes files of any format |
//! | `array.rs` | a tensor: its type and shape, and how to get its values |
//! | `contents.rs` | bytes in an open file or in memory, and their checksums |
//! | `bytes.rs` | a cursor over bytes |
//! | `safetensors.rs` | the safetensors container, read and written |
//! | `zip.rs` | zip archives |
//! | `pickle/` | a restricted unpickler |
//! | `pytorch.rs` | PyTorch's two containers |
//! | `state_dict.rs` | finds the tensors in an unpickled object |
//! | `names.rs` | brings names to those of the bare network |
//! | `atomic_file.rs` | writes a file completely or not at all |
//! | `limits.rs` | how much a file may declare |
//! | `error.rs` | what can be wrong, and the remedies |

#![forbid(unsafe_code)]

mod array;
mod atomic_file;
mod bytes;
mod checkpoint;
mod contents;
mod error;
mod limits;
mod names;
mod pickle;
mod pytorch;
mod read;
mod safetensors;
mod state_dict;
mod zip;

pub use array::{Array, Dtype};
pub use atomic_file::write_atomically;
pub use checkpoint::Checkpoint;
pub use error::{CheckpointError, Problem};
