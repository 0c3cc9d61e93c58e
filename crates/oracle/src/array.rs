//! Arrays of float64 on the host.

use std::ops::{Index, IndexMut};

/// An array of float64, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f64>,
}

impl Array {
    /// An array of `shape` with the elements `data`.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "elements for shape {shape:?}");
        Array { shape: shape.to_vec(), data }
    }

    /// An array of zeros.
    pub fn zeros(shape: &[usize]) -> Array {
        Array::new(shape, vec![0.0; shape.iter().product()])
    }

    /// An array whose element at `index` is `f(index)`; calls `f` in row-major order.
    pub fn from_fn<const N: usize>(shape: [usize; N], mut f: impl FnMut([usize; N]) -> f64) -> Array {
        let mut index = [0; N];
        let data = (0..shape.iter().product())
            .map(|mut flat: usize| {
                for d in (0..N).rev() {
                    index[d] = flat % shape[d];
                    flat /= shape[d];
                }
                f(index)
            })
            .collect();
        Array::new(&shape, data)
    }

    /// Applies `f` to each element.
    pub fn map(&self, f: impl FnMut(f64) -> f64) -> Array {
        Array::new(&self.shape, self.data.iter().copied().map(f).collect())
    }

    /// Combines two arrays of one shape element by element.
    pub fn zip(&self, other: &Array, mut f: impl FnMut(f64, f64) -> f64) -> Array {
        assert_eq!(self.shape, other.shape);
        Array::new(&self.shape, self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect())
    }

    /// The shape of an (N, C, H, W) array.
    pub fn nchw(&self) -> [usize; 4] {
        self.shape.as_slice().try_into().expect("four dimensions")
    }

    /// The elements in float32.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }

    fn flat<const N: usize>(&self, index: [usize; N]) -> usize {
        assert_eq!(N, self.shape.len(), "index {index:?} into shape {:?}", self.shape);
        index.iter().zip(&self.shape).fold(0, |flat, (&i, &length)| {
            assert!(i < length, "index {index:?} into shape {:?}", self.shape);
            flat * length + i
        })
    }
}

impl<const N: usize> Index<[usize; N]> for Array {
    type Output = f64;
    fn index(&self, index: [usize; N]) -> &f64 {
        &self.data[self.flat(index)]
    }
}

impl<const N: usize> IndexMut<[usize; N]> for Array {
    fn index_mut(&mut self, index: [usize; N]) -> &mut f64 {
        let flat = self.flat(index);
        &mut self.data[flat]
    }
}

/// Reproducible random numbers for tests (SplitMix64), unrelated to the model's noise (Philox).
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, uniform in [-1, 1) and exact in float32.
    pub fn number(&mut self) -> f64 {
        (self.bits() >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    }

    /// An array of [`number`](Random::number)s.
    pub fn array(&mut self, shape: &[usize]) -> Array {
        Array::new(shape, (0..shape.iter().product()).map(|_| self.number()).collect())
    }
}
