//! Shapes of up to four dimensions.

use crate::{Error, Result};
use std::{fmt, ops::Deref};

/// The lengths of up to four dimensions, outermost first; a scalar has none. Dereferences to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    lengths: [usize; 4],
    rank: usize,
}

impl Shape {
    /// A shape of these lengths, each at least 1.
    ///
    /// # Errors
    /// More than four dimensions, a length of 0, or 2^31 elements or more, since some kernels index with an `i32`.
    pub fn new(lengths: &[usize]) -> Result<Shape> {
        let refuse = |expected: &str| Err(Error::argument("shape", "lengths", format!("{lengths:?}"), expected));
        if lengths.len() > 4 {
            return refuse("at most four dimensions");
        }
        if lengths.contains(&0) {
            return refuse("every dimension at least 1");
        }
        match lengths.iter().try_fold(1usize, |n, &l| n.checked_mul(l)) {
            Some(n) if i32::try_from(n).is_ok() => {}
            _ => return refuse("fewer than 2^31 elements"),
        }
        let mut shape = Shape { lengths: [1; 4], rank: lengths.len() };
        shape.lengths[..lengths.len()].copy_from_slice(lengths);
        Ok(shape)
    }

    /// How many elements: the product of the lengths, 1 for a scalar.
    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    /// How many bytes a tensor of this shape takes: four for each float32.
    pub fn bytes(&self) -> u64 {
        4 * self.numel() as u64
    }

    /// The four lengths of an (N, C, H, W) tensor, or an error that names `op`'s `argument`.
    pub fn nchw(&self, op: &'static str, argument: &'static str) -> Result<[usize; 4]> {
        if self.rank == 4 { Ok(self.lengths) } else { Err(Error::shape(op, argument, self, "(N, C, H, W)")) }
    }

    /// An error that names `op`'s `argument`, unless this shape is `expected`.
    pub fn check(&self, op: &'static str, argument: &'static str, expected: &[usize]) -> Result<()> {
        if **self == *expected { Ok(()) } else { Err(Error::shape(op, argument, self, format!("{expected:?}"))) }
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.lengths[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
