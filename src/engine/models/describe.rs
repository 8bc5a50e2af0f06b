//! The fields of `model.toml`.

use serde::Deserialize;

use crate::skeleton::KEYPOINTS;

/// What `model.toml` says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Short name; the folder usually has the same.
    pub name: String,
    /// What the network is for.
    pub kind: Kind,
    /// Licence of the weights, as an SPDX expression where there is one.
    pub licence: String,
    /// Who made it, from what data, and where it is published.
    pub origin: String,
    /// Measured error, with the data it was measured on; free text.
    #[serde(default)]
    pub error: String,
    /// Measured time, with the machine; free text.
    #[serde(default)]
    pub time: String,
    /// The network file.
    pub network: FileEntry,
    /// The same network computing in 16 bits, with 32-bit tensors at both ends, for the GPU.
    pub network_fp16: Option<FileEntry>,
    /// The same network with the scales of 8-bit integers in it (symmetric Q/DQ), for the GPU.
    pub network_int8: Option<FileEntry>,
    /// Further files, such as the lifter's head.
    #[serde(default)]
    pub extra: Vec<FileEntry>,
    /// The one input tensor.
    pub input: InputTensor,
    /// The output tensors that are read.
    pub outputs: Vec<OutputTensor>,
    /// How outputs become keypoints or boxes; a lifter has none.
    pub decoder: Option<Decoder>,
}

/// What a network is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Keypoints of one person, from a perspective-rotated crop.
    Person,
    /// Keypoints from an upright crop (one person) or the whole frame (`yolo-pose`).
    Keypoints,
    /// Boxes of people, from the whole frame.
    #[serde(rename = "finder")]
    PersonDetector,
    /// A window of keypoints to lifter features.
    Lifter,
}

impl Kind {
    /// The name in `model.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Keypoints => "keypoints",
            Self::PersonDetector => "finder",
            Self::Lifter => "lifter",
        }
    }

    /// The part of the pipeline that such a network is, by the name the configuration and messages have for it.
    pub const fn part(self) -> &'static str {
        match self {
            Self::Person | Self::Keypoints => "person",
            Self::PersonDetector => "finder",
            Self::Lifter => "lifter",
        }
    }
}

/// What numbers a network is computed in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point, as trained.
    #[default]
    Fp32,
    /// 16-bit floating point inside, 32-bit at both ends.
    Fp16,
    /// 8-bit integers, where the file says with which scales.
    Int8,
}

impl Precision {
    /// Name as written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Fp32, Self::Fp16, Self::Int8]
            .into_iter()
            .find(|precision| precision.name() == text)
            .ok_or_else(|| "one of fp32, fp16, int8 is wanted".to_owned())
    }
}

/// A file of the folder and its hash.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// File name inside the folder.
    pub file: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// The input tensor.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct InputTensor {
    /// Name in the network.
    pub name: String,
    /// Shape; the batch is 1.
    pub shape: Vec<usize>,
    /// Type of its numbers.
    #[serde(rename = "type")]
    pub element: Element,
    /// How an image becomes this tensor; the lifter's input has none.
    pub image: Option<ImageTensor>,
}

/// How an image becomes a tensor.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ImageTensor {
    /// Order of the axes.
    pub layout: Layout,
    /// Order of the channels.
    #[serde(default)]
    pub colour: Colour,
    /// Value = (pixel - mean) / std, with the pixel from 0 to 255, a number for
    /// each channel in the order of `colour`.
    #[serde(default = "zeros")]
    pub mean: [f32; 3],
    /// See `mean`.
    #[serde(default = "ones")]
    pub std: [f32; 3],
    /// Pixel value (0 to 255, each channel) where there is no image.
    #[serde(default)]
    pub fill: u8,
}

const fn zeros() -> [f32; 3] {
    [0.0; 3]
}

const fn half() -> f32 {
    0.5
}

const fn ones() -> [f32; 3] {
    [1.0; 3]
}

/// Type of a tensor's numbers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// Floating point. A network that takes 16 bits (`"f16"`) is handed 32, which its engine narrows.
    #[serde(alias = "f16")]
    F32,
    /// Bytes.
    U8,
}

impl Element {
    /// Name as written in `model.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
        }
    }
}

/// Order of an image tensor's axes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// Order of an image tensor's channels.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// An output tensor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OutputTensor {
    /// Name in the network.
    pub name: String,
    /// Shape; the batch is 1.
    pub shape: Vec<usize>,
    /// What it holds.
    pub role: Role,
}

/// What an output tensor holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `[1,17,h,w]`: where each keypoint is.
    Heatmaps,
    /// `[1,17]`: logits of the chance that a keypoint can be seen.
    Visible,
    /// `[1,128]`: the person's image features.
    Features,
    /// `[1,3,h,w]`: logits of background, skin and hair, clothes.
    Mask,
    /// `[1,17,columns]`: `SimCC` scores of each column bin.
    SimccX,
    /// `[1,17,rows]`: `SimCC` scores of each row bin.
    SimccY,
    /// `[1,1,17,3]`: y, x and score of each keypoint, 0 to 1 (`MoveNet`).
    Keypoints,
    /// `[1,56,n]`: box, score and keypoints of n candidates (`YOLO-pose`).
    People,
    /// `[1,1,h,w]`: logits of a person's centre (person detector).
    Score,
    /// `[1,4,h,w]`: distances to the box's left, top, right, bottom edge (person detector).
    Box,
    /// `[1,256]`: lifter features.
    LiftFeatures,
}

impl Role {
    /// Name as written in `model.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heatmaps => "heatmaps",
            Self::Visible => "visible",
            Self::Features => "features",
            Self::Mask => "mask",
            Self::SimccX => "simcc-x",
            Self::SimccY => "simcc-y",
            Self::Keypoints => "keypoints",
            Self::People => "people",
            Self::Score => "score",
            Self::Box => "box",
            Self::LiftFeatures => "lift-features",
        }
    }
}

/// How outputs become keypoints or boxes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decoder {
    /// A map for each keypoint; its peak is the place.
    Heatmap {
        /// What the numbers mean.
        values: HeatmapValues,
        /// How a keypoint's confidence follows from what the network says; where it is missing, it is the visibility.
        #[serde(default)]
        confidence: Option<ConfidenceFit>,
        /// How sure it is that a new box holds a person; where it is missing, the person detector's score and a fixed
        /// bound on the keypoints' visibility decide.
        #[serde(default)]
        presence: Option<PresenceFit>,
    },
    /// A score for each column and each row (`RTMPose`).
    Simcc {
        /// Bins per input pixel.
        split: f32,
    },
    /// y, x, score (`MoveNet`). The score is the visibility, the place's chance and the confidence.
    Movenet {
        /// As of [`Decoder::Heatmap`].
        #[serde(default)]
        presence: Option<PresenceFit>,
    },
    /// Boxes with keypoints (`YOLO-pose`), in input pixels.
    YoloPose {
        /// Candidates below are left out.
        score_min: f32,
        /// Of two boxes that overlap more, the lower score is left out.
        iou_max: f32,
    },
    /// Centre scores and box distances of the person detector.
    #[serde(rename = "finder")]
    PersonDetector {
        /// Candidates below are left out.
        score_min: f32,
        /// A newcomer below has to be well visible to be believed.
        #[serde(default = "half")]
        score_sure: f32,
        /// Of two boxes that overlap more, the lower score is left out.
        iou_max: f32,
    },
}

/// How a keypoint's confidence follows from what the network says, fitted to labelled images:
/// `logit(confidence) = seen * visible + place * logit(p) + bias`, with `visible` the network's logit of the chance
/// that the keypoint can be seen, and `p` the share of the heatmap's chance in the cells around its peak.
///
/// The confidence is then the chance that the keypoint lies within 0.2 torso lengths of the truth.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceFit {
    /// Weight of the logit of being seen.
    pub seen: f32,
    /// Weight of the logit of the place's chance.
    pub place: f32,
    /// One for each keypoint, COCO order.
    pub bias: [f32; KEYPOINTS],
}

/// How the chance that a new box holds a person follows from both networks, fitted to labelled pictures and to pictures
/// without people: `logit(chance) = score * logit(s) + seen * logit(c) + place * logit(p) + bias`, with `s` the person
/// detector's score, and `c` and `p` the means of the better half of the keypoints' visibilities and of the shares of
/// the heatmaps' chance around their peaks. A box with a chance of a half or more becomes a person.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PresenceFit {
    /// Weight of the logit of the person detector's score.
    pub score: f32,
    /// Weight of the logit of the keypoints' visibility.
    pub seen: f32,
    /// Weight of the logit of the places' chance.
    pub place: f32,
    /// The chance's logit where all of these are a half.
    pub bias: f32,
}

impl Decoder {
    /// How sure it is that a new box holds a person; `None` of a network whose description does not tell.
    pub const fn presence(&self) -> Option<&PresenceFit> {
        match self {
            Self::Heatmap { presence, .. } | Self::Movenet { presence } => presence.as_ref(),
            Self::Simcc { .. } | Self::YoloPose { .. } | Self::PersonDetector { .. } => None,
        }
    }
}

/// What the numbers of a heatmap mean.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum HeatmapValues {
    /// Logits of a softmax over the map: the distribution of the place.
    Logits,
    /// Scores: the peak's height is the confidence (Gaussian heatmaps).
    Scores,
}
