//! An image as RGBA bytes, for a texture of the host application.

use super::DeviceBuffers;
use super::input::holds;
use crate::{ShaderText, kernel};
use alias_plan::BufferId;
use alias_tensor::{Result, Tensor, Work};

const TEXT: ShaderText = stored!(RGBA8, GRID);
#[cfg(test)]
const SOURCE: &[&str] = TEXT.f32;

params! { batch: u32, plane: u32 }

impl DeviceBuffers {
    /// An output (N, 3, H, W) in [-1, 1] as RGBA8: (N, H, W) words of 32 bits, red in the lowest byte, alpha 255. The
    /// tensor is a new one, which later runs of the plan do not overwrite.
    ///
    /// # Errors
    /// [`Error::Argument`](alias_tensor::Error::Argument) if the output is smaller; what the device reports.
    ///
    /// # Panics
    /// If the buffer is not an output.
    pub fn rgba8(&self, id: BufferId, [batch, height, width]: [usize; 3]) -> Result<Tensor> {
        let x = self.output(id);
        let elements = batch * height * width;
        holds("rgba8", "the output", x, 3 * elements as u64 * self.precision().bytes())?;
        let rgba = Tensor::empty(self.gpu(), &[batch, height, width])?;
        let params = Params { batch: batch as u32, plane: (height * width) as u32 };
        let forward = kernel("rgba8", TEXT.of(self.precision()), "forward");
        self.gpu().launch(&forward, &params, &[x], &[&rgba], Work::threads(elements))?;
        Ok(rgba)
    }
}
