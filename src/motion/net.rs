//! A small convolutional network over time: forward, and backward to its input.
//!
//! ```text
//!  [time, channels] ─▶ conv + SiLU ─▶ … ─▶ mean over time ─▶ linear (+ SiLU + linear) ─▶ to length 1
//! ```
//!
//! Weights are frozen, so only the gradient with respect to the input is ever
//! asked for. Channels stand last and inputs are padded with zeros, which makes
//! every convolution window one contiguous slice and every convolution a product
//! with the same small matrix. [`Workspace`] holds all that changes; with it in
//! hand neither direction allocates.

use crate::sys::simd::{add_rows, rows_times, rows_times_two};

/// Smallest length of a vector that still has a direction.
const LENGTH_MIN: f32 = 1e-6;

/// A convolution over time; a linear layer is one with a kernel of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Time steps a window spans.
    pub kernel: usize,
    /// Time steps from one window to the next.
    pub stride: usize,
    /// Zeros before the first and after the last time step.
    pub pad: usize,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// `[outputs, kernel, inputs]`, row-major.
    pub weight: Box<[f32]>,
    /// One for each output.
    pub bias: Box<[f32]>,
}

impl Conv {
    /// Time steps out of `steps` in; 0 where the padded input is shorter than the kernel.
    pub const fn steps_out(&self, steps: usize) -> usize {
        let padded = steps + 2 * self.pad;
        if padded < self.kernel {
            return 0;
        }
        (padded - self.kernel) / self.stride + 1
    }
}

/// The network. Made by [`super::encoder`], which checks that the layers fit each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// Time steps of the input.
    pub steps: usize,
    /// SiLU follows each.
    pub convs: Vec<Conv>,
    /// Kernel one; SiLU stands between, not after the last.
    pub linears: Vec<Conv>,
}

/// One layer's numbers of the newest pass.
#[derive(Clone, Debug)]
struct Layer {
    /// Input with its padding, `[pad + steps + pad, inputs]`.
    input: Box<[f32]>,
    /// Output before the nonlinearity, `[steps_out, outputs]`.
    output: Box<[f32]>,
    /// Gradient of the padded input.
    input_gradient: Box<[f32]>,
    /// Gradient of the output before the nonlinearity.
    output_gradient: Box<[f32]>,
    steps_out: usize,
}

impl Layer {
    fn new(conv: &Conv, steps: usize) -> Self {
        let input = (steps + 2 * conv.pad) * conv.inputs;
        let steps_out = conv.steps_out(steps);
        let zeros = |count| vec![0.0; count].into_boxed_slice();
        Self {
            input: zeros(input),
            output: zeros(steps_out * conv.outputs),
            input_gradient: zeros(input),
            output_gradient: zeros(steps_out * conv.outputs),
            steps_out,
        }
    }

    /// The input without its padding.
    fn inner(&mut self, conv: &Conv) -> &mut [f32] {
        let edge = conv.pad * conv.inputs;
        let end = self.input.len() - edge;
        &mut self.input[edge..end]
    }

    fn forward(&mut self, conv: &Conv) {
        let window = conv.kernel * conv.inputs;
        let step = conv.stride * conv.inputs;
        let input = |time: usize| &self.input[time * step..time * step + window];
        let mut pairs = self.output.chunks_exact_mut(2 * conv.outputs);
        for (pair, outputs) in (&mut pairs).enumerate() {
            let (first, second) = outputs.split_at_mut(conv.outputs);
            let inputs = [input(2 * pair), input(2 * pair + 1)];
            rows_times_two(&conv.weight, inputs, &conv.bias, [first, second]);
        }
        let last = pairs.into_remainder();
        if !last.is_empty() {
            rows_times(&conv.weight, input(self.steps_out - 1), &conv.bias, last);
        }
    }

    /// From the output's gradient to the input's.
    fn backward(&mut self, conv: &Conv) {
        let window = conv.kernel * conv.inputs;
        let step = conv.stride * conv.inputs;
        self.input_gradient.fill(0.0);
        for (time, gradient) in self.output_gradient.chunks_exact(conv.outputs).enumerate() {
            let at = time * step;
            add_rows(
                &conv.weight,
                gradient,
                &mut self.input_gradient[at..at + window],
            );
        }
    }

    fn inner_gradient(&self, conv: &Conv) -> &[f32] {
        let edge = conv.pad * conv.inputs;
        &self.input_gradient[edge..self.input_gradient.len() - edge]
    }
}

/// What a pass through a [`Net`] writes.
#[derive(Clone, Debug)]
pub struct Workspace {
    convs: Vec<Layer>,
    linears: Vec<Layer>,
    embedding: Box<[f32]>,
    length: f32,
}

impl Workspace {
    /// Room for `net`.
    pub fn new(net: &Net) -> Self {
        let mut steps = net.steps;
        let convs = net
            .convs
            .iter()
            .map(|conv| {
                let layer = Layer::new(conv, steps);
                steps = layer.steps_out;
                layer
            })
            .collect();
        let width = net.linears.last().map_or(0, |last| last.outputs);
        Self {
            convs,
            linears: net
                .linears
                .iter()
                .map(|linear| Layer::new(linear, 1))
                .collect(),
            embedding: vec![0.0; width].into(),
            length: 0.0,
        }
    }

    /// Where the input goes, `[steps, channels]`, oldest first.
    pub fn input(&mut self, net: &Net) -> &mut [f32] {
        self.convs[0].inner(&net.convs[0])
    }

    /// The output of the newest [`Net::forward`], of length 1.
    pub fn embedding(&self) -> &[f32] {
        &self.embedding
    }

    /// The gradient of the input that the newest [`Net::backward`] found, `[steps, channels]`.
    pub fn input_gradient(&self, net: &Net) -> &[f32] {
        self.convs[0].inner_gradient(&net.convs[0])
    }
}

impl Net {
    /// Numbers in the output.
    pub fn width(&self) -> usize {
        self.linears.last().map_or(0, |last| last.outputs)
    }

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        self.convs.first().map_or(0, |first| first.inputs)
    }

    /// Multiply-adds of one [`Self::forward`].
    pub fn multiply_adds(&self) -> usize {
        let mut steps = self.steps;
        let mut sum = 0;
        for conv in &self.convs {
            steps = conv.steps_out(steps);
            sum += steps * conv.weight.len();
        }
        sum + self
            .linears
            .iter()
            .map(|linear| linear.weight.len())
            .sum::<usize>()
    }

    /// From the input in `space` to the embedding in `space`.
    ///
    /// `None` if the embedding has no direction or is not finite.
    pub fn forward<'s>(&self, space: &'s mut Workspace) -> Option<&'s [f32]> {
        for at in 0..self.convs.len() {
            space.convs[at].forward(&self.convs[at]);
            let (done, rest) = space.convs.split_at_mut(at + 1);
            let output = &done[at].output;
            if let Some(next) = rest.first_mut() {
                for (x, y) in next.inner(&self.convs[at + 1]).iter_mut().zip(output) {
                    *x = silu(*y);
                }
            } else {
                mean_over_time(output, &mut space.linears[0].input);
            }
        }
        for at in 0..self.linears.len() {
            space.linears[at].forward(&self.linears[at]);
            let (done, rest) = space.linears.split_at_mut(at + 1);
            if let Some(next) = rest.first_mut() {
                for (x, y) in next.input.iter_mut().zip(&done[at].output) {
                    *x = silu(*y);
                }
            } else {
                space.embedding.copy_from_slice(&done[at].output);
            }
        }
        let length = space.embedding.iter().map(|v| v * v).sum::<f32>().sqrt();
        if !length.is_finite() || length < LENGTH_MIN {
            return None;
        }
        space.length = length;
        for value in &mut space.embedding {
            *value /= length;
        }
        Some(&space.embedding)
    }

    /// From a gradient with respect to the embedding of the newest
    /// [`Self::forward`] to the gradient with respect to the input.
    pub fn backward<'s>(&self, embedding_gradient: &[f32], space: &'s mut Workspace) -> &'s [f32] {
        // d(v / |v|) = (I - e eᵀ) dv / |v|
        let along: f32 = space
            .embedding
            .iter()
            .zip(embedding_gradient)
            .map(|(e, g)| e * g)
            .sum();
        let last = self.linears.len() - 1;
        for ((out, e), g) in space.linears[last]
            .output_gradient
            .iter_mut()
            .zip(&space.embedding)
            .zip(embedding_gradient)
        {
            *out = (g - e * along) / space.length;
        }
        for at in (0..self.linears.len()).rev() {
            space.linears[at].backward(&self.linears[at]);
            let (before, rest) = space.linears.split_at_mut(at);
            if let Some(previous) = before.last_mut() {
                through_silu(
                    &previous.output,
                    &rest[0].input_gradient,
                    &mut previous.output_gradient,
                );
            }
        }
        for at in (0..self.convs.len()).rev() {
            let (before, rest) = space.convs.split_at_mut(at + 1);
            let layer = &mut before[at];
            if let Some(next) = rest.first() {
                through_silu(
                    &layer.output,
                    next.inner_gradient(&self.convs[at + 1]),
                    &mut layer.output_gradient,
                );
            } else {
                spread_over_time(
                    &layer.output,
                    &space.linears[0].input_gradient,
                    &mut layer.output_gradient,
                );
            }
            layer.backward(&self.convs[at]);
        }
        space.input_gradient(self)
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `silu'(x)`.
fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
}

fn through_silu(before: &[f32], after_gradient: &[f32], before_gradient: &mut [f32]) {
    for ((out, x), g) in before_gradient.iter_mut().zip(before).zip(after_gradient) {
        *out = g * silu_slope(*x);
    }
}

/// Mean over time of SiLU of `output` `[steps, channels]`.
fn mean_over_time(output: &[f32], mean: &mut [f32]) {
    mean.fill(0.0);
    for row in output.chunks_exact(mean.len()) {
        for (sum, x) in mean.iter_mut().zip(row) {
            *sum += silu(*x);
        }
    }
    let share = share(output.len(), mean.len());
    for sum in mean {
        *sum *= share;
    }
}

/// The gradient of [`mean_over_time`].
fn spread_over_time(output: &[f32], mean_gradient: &[f32], gradient: &mut [f32]) {
    let share = share(output.len(), mean_gradient.len());
    let width = mean_gradient.len();
    for (out, row) in gradient
        .chunks_exact_mut(width)
        .zip(output.chunks_exact(width))
    {
        for ((out, x), g) in out.iter_mut().zip(row).zip(mean_gradient) {
            *out = share * g * silu_slope(*x);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "channels and time steps are small"
)]
fn share(numbers: usize, channels: usize) -> f32 {
    channels as f32 / numbers as f32
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn conv(rng: &mut fastrand::Rng, shape: [usize; 5]) -> Conv {
        let [kernel, stride, pad, inputs, outputs] = shape;
        let mut numbers = |count: usize, scale: f32| -> Box<[f32]> {
            (0..count)
                .map(|_| scale * (2.0 * rng.f32() - 1.0))
                .collect()
        };
        Conv {
            kernel,
            stride,
            pad,
            inputs,
            outputs,
            weight: numbers(kernel * inputs * outputs, 0.4),
            bias: numbers(outputs, 0.2),
        }
    }

    /// A network with random weights: strides, padding and two linear layers.
    pub(crate) fn random_net(steps: usize, channels: usize, width: usize) -> Net {
        let mut rng = fastrand::Rng::with_seed(3);
        Net {
            steps,
            convs: vec![
                conv(&mut rng, [5, 2, 2, channels, 6]),
                conv(&mut rng, [3, 1, 1, 6, 7]),
                conv(&mut rng, [3, 2, 0, 7, 5]),
            ],
            linears: vec![
                conv(&mut rng, [1, 1, 0, 5, 9]),
                conv(&mut rng, [1, 1, 0, 9, width]),
            ],
        }
    }

    fn loss(net: &Net, input: &[f32], toward: &[f32], space: &mut Workspace) -> f64 {
        space.input(net).copy_from_slice(input);
        let embedding = net.forward(space).expect("has a direction");
        embedding
            .iter()
            .zip(toward)
            .map(|(e, t)| f64::from(*e) * f64::from(*t))
            .sum()
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let net = random_net(12, 4, 8);
        let mut rng = fastrand::Rng::with_seed(9);
        let input: Vec<f32> = (0..12 * 4).map(|_| 2.0 * rng.f32() - 1.0).collect();
        let toward: Vec<f32> = (0..8).map(|_| 2.0 * rng.f32() - 1.0).collect();
        let mut space = Workspace::new(&net);
        loss(&net, &input, &toward, &mut space);
        let gradient = net.backward(&toward, &mut space).to_vec();
        let largest = gradient
            .iter()
            .fold(0.0_f64, |m, g| m.max(f64::from(g.abs())));
        assert!(largest > 1e-3, "a gradient of zero proves nothing");
        for (at, got) in gradient.iter().enumerate() {
            let h = 1e-2;
            let mut moved = input.clone();
            moved[at] = input[at] + h;
            let above = loss(&net, &moved, &toward, &mut space);
            moved[at] = input[at] - h;
            let below = loss(&net, &moved, &toward, &mut space);
            let want = (above - below) / (2.0 * f64::from(h));
            assert!(
                (f64::from(*got) - want).abs() < 1e-3 * largest,
                "{at}: {got} {want}"
            );
        }
    }

    #[test]
    fn a_hand_computed_convolution() {
        let conv = Conv {
            kernel: 3,
            stride: 2,
            pad: 1,
            inputs: 1,
            outputs: 1,
            weight: Box::new([1.0, 10.0, 100.0]),
            bias: Box::new([0.5]),
        };
        let mut layer = Layer::new(&conv, 4);
        layer.inner(&conv).copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        layer.forward(&conv);
        assert_eq!(*layer.output, [210.5, 432.5]);
    }

    #[test]
    fn an_input_without_direction_has_no_embedding() {
        let mut net = random_net(12, 4, 8);
        let last = net.linears.last_mut().expect("there is one");
        last.weight.fill(0.0);
        last.bias.fill(0.0);
        let mut space = Workspace::new(&net);
        assert!(net.forward(&mut space).is_none());
        net.linears[1].bias[0] = f32::NAN;
        assert!(net.forward(&mut space).is_none());
    }
}
