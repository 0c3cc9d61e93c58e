//! A tensor of a checkpoint.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};

use super::contents::{Contents, zeros};
use super::error::{CheckpointError, Problem};

/// The most dimensions that a tensor may have; no layer's weights have as many.
const MAX_RANK: usize = 16;

/// The type of an array's elements as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

impl Dtype {
    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::I16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::I32 | Dtype::F32 => 4,
            Dtype::I64 | Dtype::F64 => 8,
        }
    }
}

/// A tensor whose elements are in a file or in memory. They are read and converted each time they are asked for; type
/// and shape are always known. Cheap to clone, since clones and tied weights share their elements.
///
/// Reading elements fails only if they are in a file. Those of [`Array::from_f32`], [`Array::from_le_bytes`] and
/// [`Checkpoint::from_bytes`](crate::Checkpoint::from_bytes) are in memory.
#[derive(Clone)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Distance between neighbours in each dimension, in elements.
    strides: Vec<usize>,
    /// Index of the first element in the storage.
    offset: usize,
    /// The storage, little-endian elements. The array may be a part of it.
    data: Contents,
}

impl Array {
    /// An array of `values` in row-major order.
    ///
    /// # Panics
    /// If `shape` does not hold exactly `values.len()` elements.
    #[must_use]
    #[track_caller]
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Array {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Array::from_le_bytes(Dtype::F32, shape, bytes)
    }

    /// An array of little-endian elements of any type in row-major order.
    ///
    /// # Panics
    /// If `shape` does not hold exactly the elements in `bytes`.
    #[must_use]
    #[track_caller]
    pub fn from_le_bytes(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Array {
        let given = bytes.len();
        match Array::row_major(dtype, shape.to_vec(), bytes.into()) {
            Ok(array) if array.byte_len() == given => array,
            _ => panic!("{given} bytes are not the {dtype:?} elements of shape {shape:?}"),
        }
    }

    /// The row-major array at the start of `data`.
    pub(super) fn row_major(dtype: Dtype, shape: Vec<usize>, data: Contents) -> Result<Array, Problem> {
        let mut strides = vec![1usize; shape.len()];
        for d in (1..shape.len()).rev() {
            // Saturates where the number of elements overflows, which `view` refuses.
            strides[d - 1] = strides[d].saturating_mul(shape[d].max(1));
        }
        Array::view(dtype, shape, strides, 0, data)
    }

    /// The array with these strides whose first element is at `offset` in `data`. An error if any element is outside
    /// `data`.
    ///
    /// Stride 0 is refused, and so are arrays with more elements than `data`: with either, a small file could describe
    /// an array of any size.
    pub(super) fn view(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        data: Contents,
    ) -> Result<Array, Problem> {
        let rank = shape.len();
        if rank > MAX_RANK || strides.len() != rank {
            let strides = strides.len();
            let what = format!("it has {rank} dimensions (at most {MAX_RANK}) and {strides} strides");
            return Err(Problem::Damaged(what));
        }
        let stored = data.len() / dtype.size();
        let numel = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let last = (shape.iter().zip(&strides))
            .try_fold(offset, |last, (&dim, &stride)| last.checked_add(dim.saturating_sub(1).checked_mul(stride)?));
        if numel != Some(0) && shape.iter().zip(&strides).any(|(&d, &s)| d > 1 && s == 0) {
            let what = format!("shape {shape:?} is expanded (strides {strides:?})");
            let remedy = "call .contiguous() on the tensor before torch.save";
            return Err(Problem::Unsupported { what, remedy });
        }
        let inside = match (numel, last) {
            (Some(0), _) => true,
            (Some(numel), Some(last)) => numel <= stored && last < stored,
            _ => false,
        };
        if !inside {
            return Err(Problem::Damaged(format!(
                "shape {shape:?} with strides {strides:?} from element {offset} on reaches \
                 outside its storage of {stored} elements"
            )));
        }
        Ok(Array { dtype, shape, strides, offset, data })
    }

    /// The public error for `problem`, which names the file that the elements are in.
    pub(super) fn error(&self, problem: Problem) -> CheckpointError {
        self.data.error(problem)
    }

    /// The type of the elements as stored.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The length of each dimension; none for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The size of the elements as stored.
    pub(super) fn byte_len(&self) -> usize {
        self.numel() * self.dtype.size()
    }

    /// The elements in row-major order, rounded to `f32` where their type is wider.
    ///
    /// # Errors
    /// If the elements cannot be read from their file, for instance because it was cut short after it was opened.
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        if self.dtype == Dtype::F32 && self.is_row_major() && self.numel() > 0 && cfg!(target_endian = "little") {
            return self.read_f32().map_err(|problem| self.error(problem));
        }
        self.map(|x| x as f32)
    }

    /// The elements, read into the vector without another copy. Only for `F32` in row-major order on little-endian
    /// processors.
    fn read_f32(&self) -> Result<Vec<f32>, Problem> {
        let mut values = zeros::<f32>(self.numel())?;
        self.data.read_into(self.offset * size_of::<f32>(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// The elements in row-major order, exact except for integers beyond 2^53.
    ///
    /// # Errors
    /// As [`Array::to_f32`].
    pub fn to_f64(&self) -> Result<Vec<f64>, CheckpointError> {
        self.map(|x| x)
    }

    #[expect(clippy::cast_precision_loss, reason = "documented at `to_f64`")]
    fn map<T>(&self, f: impl Fn(f64) -> T) -> Result<Vec<T>, CheckpointError> {
        let bytes = &*self.to_le_bytes()?;
        Ok(match self.dtype {
            Dtype::Bool => decode(bytes, |b| f(f64::from(u8::from(b != [0])))),
            Dtype::U8 => decode(bytes, |b| f(f64::from(u8::from_le_bytes(b)))),
            Dtype::I8 => decode(bytes, |b| f(f64::from(i8::from_le_bytes(b)))),
            Dtype::I16 => decode(bytes, |b| f(f64::from(i16::from_le_bytes(b)))),
            Dtype::I32 => decode(bytes, |b| f(f64::from(i32::from_le_bytes(b)))),
            Dtype::I64 => decode(bytes, |b| f(i64::from_le_bytes(b) as f64)),
            Dtype::F16 => decode(bytes, |b| f(f16::from_le_bytes(b).to_f64())),
            Dtype::BF16 => decode(bytes, |b| f(bf16::from_le_bytes(b).to_f64())),
            Dtype::F32 => decode(bytes, |b| f(f64::from(f32::from_le_bytes(b)))),
            Dtype::F64 => decode(bytes, |b| f(f64::from_le_bytes(b))),
        })
    }

    /// The elements in row-major order as little-endian bytes. Borrowed if they are stored in this order in memory.
    ///
    /// # Errors
    /// As [`Array::to_f32`].
    pub fn to_le_bytes(&self) -> Result<Cow<'_, [u8]>, CheckpointError> {
        self.read_le_bytes().map_err(|problem| self.error(problem))
    }

    fn read_le_bytes(&self) -> Result<Cow<'_, [u8]>, Problem> {
        if self.numel() == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let size = self.dtype.size();
        // `view` has checked that the last element is in the storage, and that there are no more elements than in it.
        let last: usize = self.shape.iter().zip(&self.strides).map(|(dim, stride)| (dim - 1) * stride).sum();
        let bytes = self.data.read_range(self.offset * size, (last + 1) * size)?;
        if self.is_row_major() {
            return Ok(bytes);
        }
        let mut gathered = Vec::with_capacity(self.byte_len());
        let mut index = vec![0; self.shape.len()];
        for _ in 0..self.numel() {
            let at: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
            gathered.extend_from_slice(&bytes[at * size..][..size]);
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < self.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(Cow::Owned(gathered))
    }

    /// The array in half precision: 16-bit floats, rounded to nearest. Integers and booleans stay as they are.
    ///
    /// # Errors
    /// As [`Array::to_f32`].
    pub fn to_half(&self) -> Result<Array, CheckpointError> {
        if !matches!(self.dtype, Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            return Ok(self.clone());
        }
        let bytes = self.map(|value| f16::from_f64(value).to_le_bytes())?.concat();
        Ok(Array::from_le_bytes(Dtype::F16, &self.shape, bytes))
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
            // In a dimension of one element the stride has no meaning.
            if dim != 1 && stride != expected {
                return false;
            }
            expected *= dim;
        }
        true
    }
}

/// Shows type and shape, not the elements, which may be millions.
impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Array({:?}, {:?})", self.dtype, self.shape)
    }
}

/// Applies `f` to every `N` bytes.
fn decode<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&b| f(b)).collect()
}
