//! Checkpoints: what PyTorch and safetensors write is read, what is missing or misshapen is reported, what is hostile is
//! refused.

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
