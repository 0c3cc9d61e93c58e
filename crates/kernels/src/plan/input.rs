//! The input of a plan's steps: shaders/shared/input.wgsl.

use super::DeviceBuffers;
use alias_plan::Input;
use alias_tensor::{Error, Kernel, Result, Tensor};

/// `struct Input` of shaders/shared/input.wgsl.
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
        let [a, b] = [&input.operands[0], input.operands.last().unwrap_or(&input.operands[0])];
        let up = |side: usize| (input.height / side).max(1).ilog2();
        let down = |side: usize| (side / input.height).max(1).ilog2();
        let rows = input.modulation().map_or(0..0, |modulation| modulation.rows.clone());
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
            band_start: rows.start as u32,
            band_rows: rows.len() as u32,
            slope: input.slope,
        }
    }
}

/// Errors if `tensor` has fewer `bytes` than a kernel reads or writes.
pub(crate) fn holds(op: &'static str, what: &'static str, tensor: &Tensor, bytes: u64) -> Result<()> {
    if tensor.bytes() >= bytes {
        return Ok(());
    }
    Err(Error::argument(op, what, format!("{} bytes", tensor.bytes()), format!("at least {bytes}")))
}

/// `kernel` with the overrides that switch on what happens when it loads `input`.
pub(crate) fn reading(kernel: Kernel, input: &Input) -> Kernel {
    let modulation = input.modulation();
    kernel
        .constant("NORM", input.norm.is_some().into())
        .constant("TABLE", modulation.is_some().into())
        .constant("MASKED", modulation.is_some_and(|modulation| modulation.masked).into())
        .constant("NOISE", input.noise.is_some().into())
}

impl DeviceBuffers {
    /// Errors if a buffer of `input` is smaller than a step needs that reads the image rows `seen`.
    pub(crate) fn check_input(&self, op: &'static str, input: &Input, seen: &std::ops::Range<usize>) -> Result<()> {
        let Input { batch, height, width, ref operands, noise, .. } = *input;
        if !(1..=2).contains(&operands.len()) {
            return Err(Error::argument(op, "the number of operands", operands.len(), "1 or 2"));
        }
        for operand in operands {
            let factor = |a: usize, b: usize| (a.max(b) / a.min(b).max(1), a.max(b).is_multiple_of(a.min(b).max(1)));
            let (by, whole) = factor(operand.height, height);
            let alike =
                (by, true) == factor(operand.width, width) && (operand.height > height) == (operand.width > width);
            if !whole || !by.is_power_of_two() || !alike {
                let got = format!("{}x{} for {height}x{width}", operand.height, operand.width);
                return Err(Error::argument(op, "an operand", got, "the input's size times or by a power of two"));
            }
            let elements = batch * operand.channels * operand.height * operand.width;
            holds(op, "an operand", self.get(operand.buffer), elements as u64 * self.precision().bytes())?;
        }
        if let Some(noise) = noise {
            holds(op, "the noise", self.get(noise), 4 * (batch * height * width) as u64)?;
        }
        let Some(norm) = &input.norm else { return Ok(()) };
        holds(op, "the coefficients", self.get(norm.coefficients), 32 * (batch * input.channels()) as u64)?;
        let Some(modulation) = &norm.modulation else { return Ok(()) };
        let rows = &modulation.rows;
        if rows.start > seen.start || rows.end < seen.end {
            return Err(Error::argument(op, "the rows of pixels", format!("{rows:?}"), format!("all of {seen:?}")));
        }
        let columns = alias_plan::ModulationTable::columns(input.channels());
        holds(op, "the table", self.get(modulation.table), 4 * (modulation.entries * columns) as u64)?;
        holds(op, "the pixels", self.get(modulation.pixels), 8 * (batch * rows.len() * width) as u64)
    }

    /// Both operands of `input`, or its only one twice.
    pub(crate) fn operands(&self, input: &Input) -> [&Tensor; 2] {
        let second = input.operands.len() - 1;
        [self.get(input.operands[0].buffer), self.get(input.operands[second].buffer)]
    }

    /// Bindings 1 to 6 of shaders/shared/load_store.wgsl. A binding without a buffer gets the first operand, which the
    /// kernel then does not read.
    pub(crate) fn read_by(&self, input: &Input) -> [&Tensor; 6] {
        let [a, b] = self.operands(input);
        let or_first = |id: Option<alias_plan::BufferId>| id.map_or(a, |id| self.get(id));
        let modulation = input.modulation();
        [
            a,
            b,
            or_first(input.norm.as_ref().map(|norm| norm.coefficients)),
            or_first(modulation.map(|modulation| modulation.table)),
            or_first(modulation.map(|modulation| modulation.pixels)),
            or_first(input.noise),
        ]
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
            "@group(0) @binding(1) var<storage, read> operand_0: array<f32>;",
            "@group(0) @binding(2) var<storage, read> operand_1: array<f32>;",
            "struct Params { input: Input } @group(0) @binding(0) var<uniform> p: Params; alias Stored = f32;",
            alias_shaders::shared::INPUT,
        ];
        alias_oracle::check_struct(&source.concat(), "Input", &fields);
        assert_eq!(size_of::<InputParams>(), 64, "a struct in a uniform takes a multiple of 16 bytes");
    }
}
