//! Reading checkpoints: files of PyTorch and safetensors load, missing and misshapen tensors are reported, hostile
//! files are refused.

mod changed_files;
mod files;
mod formats;
mod hostile_bytes;
mod hostile_containers;
mod hostile_pickles;
mod hostile_tensors;
mod objects;
mod refused;
mod strictness;
