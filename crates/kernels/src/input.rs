//! What the layers of a plan read, as their shaders have it.

use alias_plan::{BufferId, Convolution, Input, Precision};
use alias_tensor::{Error, Result, Tensor};

/// `struct Input` of shaders/shared/source.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct InputParams {
    batch: u32,
    channels: u32,
    h: u32,
    w: u32,
    first: u32,
    h_0: u32,
    w_0: u32,
    up_0: u32,
    down_0: u32,
    h_1: u32,
    w_1: u32,
    up_1: u32,
    down_1: u32,
    band_start: u32,
    band_rows: u32,
    slope: f32,
}

impl InputParams {
    pub(crate) fn new(input: &Input) -> InputParams {
        let [a, b] = [&input.sources[0], input.sources.last().unwrap_or(&input.sources[0])];
        let up = |side: usize| (input.height / side).max(1).ilog2();
        let down = |side: usize| (side / input.height).max(1).ilog2();
        InputParams {
            batch: input.batch as u32,
            channels: input.channels() as u32,
            h: input.height as u32,
            w: input.width as u32,
            first: a.channels as u32,
            h_0: a.height as u32,
            w_0: a.width as u32,
            up_0: up(a.height),
            down_0: down(a.height),
            h_1: b.height as u32,
            w_1: b.width as u32,
            up_1: up(b.height),
            down_1: down(b.height),
            band_start: 0,
            band_rows: 0,
            slope: 1.0,
        }
    }

    /// The input of a convolution.
    pub(crate) fn of(step: &Convolution) -> InputParams {
        let rows = step.norm.as_ref().map_or(0..0, |norm| norm.pixel_rows.clone());
        let (band_start, band_rows) = (rows.start as u32, rows.len() as u32);
        InputParams { band_start, band_rows, slope: step.slope, ..InputParams::new(&step.input) }
    }
}

/// Errors unless `tensor` has as many bytes as a kernel is going to read or write.
pub(crate) fn holds(op: &'static str, what: &'static str, tensor: &Tensor, bytes: u64) -> Result<()> {
    if tensor.bytes() >= bytes {
        return Ok(());
    }
    Err(Error::argument(op, what, format!("{} bytes", tensor.bytes()), format!("at least {bytes}")))
}

/// Where the buffers of a plan lie on a device.
#[derive(Clone, Copy, Debug)]
pub struct Buffers<'a>(pub &'a [Tensor]);

impl<'a> Buffers<'a> {
    pub(crate) fn get(self, id: BufferId) -> &'a Tensor {
        &self.0[id.0]
    }

    /// A buffer that a plan for another device may do without.
    pub(crate) fn stored(self, op: &'static str, what: &'static str, id: Option<BufferId>) -> Result<&'a Tensor> {
        id.map(|id| self.get(id))
            .ok_or_else(|| Error::argument(op, what, "none", "a buffer, as plans for GPUs have it"))
    }

    /// Errors unless every buffer that `input` is read from has what its shape says.
    pub(crate) fn check_input(self, op: &'static str, input: &Input, precision: Precision) -> Result<()> {
        let Input { batch, height, width, ref sources, noise } = *input;
        if !(1..=2).contains(&sources.len()) {
            return Err(Error::argument(op, "the number of sources", sources.len(), "1 or 2"));
        }
        for source in sources {
            let factor = |a: usize, b: usize| (a.max(b) / a.min(b).max(1), a.max(b).is_multiple_of(a.min(b).max(1)));
            let (by, whole) = factor(source.height, height);
            let alike = (by, true) == factor(source.width, width) && (source.height > height) == (source.width > width);
            if !whole || !by.is_power_of_two() || !alike {
                let got = format!("{}x{} for {height}x{width}", source.height, source.width);
                return Err(Error::argument(op, "a source", got, "the input's size times or by a power of two"));
            }
            let elements = batch * source.channels * source.height * source.width;
            holds(op, "a source", self.get(source.buffer), elements as u64 * precision.bytes())?;
        }
        noise.map_or(Ok(()), |noise| holds(op, "the noise", self.get(noise), 4 * (batch * height * width) as u64))
    }

    /// Both sources of `input`, the same twice where it has only one.
    pub(crate) fn sources(self, input: &Input) -> [&'a Tensor; 2] {
        let second = input.sources.len() - 1;
        [self.get(input.sources[0].buffer), self.get(input.sources[second].buffer)]
    }
}

#[cfg(test)]
mod tests {
    use super::InputParams;
    use std::mem::offset_of;

    #[test]
    fn input_matches_the_shaders() {
        macro_rules! fields {
            ($($field:ident)*) => { [$((stringify!($field), offset_of!(InputParams, $field))),*] };
        }
        let fields =
            fields!(batch channels h w first h_0 w_0 up_0 down_0 h_1 w_1 up_1 down_1 band_start band_rows slope);
        let source = [
            "@group(0) @binding(1) var<storage, read> source_0: array<f32>;",
            "@group(0) @binding(2) var<storage, read> source_1: array<f32>;",
            "struct Params { input: Input } @group(0) @binding(0) var<uniform> p: Params; alias Stored = f32;",
            alias_shaders::shared::SOURCE,
        ];
        alias_oracle::check_struct(&source.concat(), "Input", &fields);
        assert_eq!(size_of::<InputParams>(), 64, "a struct in a uniform takes a multiple of 16 bytes");
    }
}
