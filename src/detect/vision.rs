//! A network that looks at images, with its buffers and its decoder.

use std::path::{Path, PathBuf};

use heapless::Vec as FixedVec;

use super::decode::{self, Found, FoundBox, MapGeometry, Placed};
use super::preprocess::ImageBuffer;
use crate::base::limits::{IMAGE_FEATURES, PEOPLE_MAX};
use crate::engine::Engine;
use crate::engine::models::{
    self, Decoder, Description, Folder, Kind, Layout, ModelError, Role, sha256_hex,
};
use crate::engine::network::{InferError, Network};
use crate::skeleton::KEYPOINTS;

/// A network that looks at images: input buffer, engine, output buffers, decoder.
pub struct VisionNet {
    kind: Kind,
    decoder: Decoder,
    image: ImageBuffer,
    network: Box<dyn Network>,
    roles: Vec<Role>,
    outputs: Vec<Vec<f32>>,
    /// Cells of the heatmaps or of the person detector's score.
    geometry: MapGeometry,
}

impl std::fmt::Debug for VisionNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisionNet")
            .field("kind", &self.kind)
            .field("decoder", &self.decoder)
            .field("engine", &self.network.engine())
            .finish_non_exhaustive()
    }
}

impl VisionNet {
    /// Opens a model folder and loads its network with an engine.
    ///
    /// # Errors
    ///
    /// What does not fit; see [`ModelError`].
    pub fn open(engine: &Engine, folder: &Path) -> Result<Self, ModelError> {
        let folder = Folder::open(folder)?;
        let network = engine.load(&folder)?;
        Self::with_network(&folder, network)
    }

    /// Puts buffers and decoder around a network that some engine has loaded.
    ///
    /// # Errors
    ///
    /// [`ModelError::Misfit`] where the description is not that of an image network.
    pub fn with_network(folder: &Folder, network: Box<dyn Network>) -> Result<Self, ModelError> {
        let description = &folder.description;
        let misfit = |what: &str| ModelError::Misfit {
            path: folder.path.join(models::DESCRIPTION_FILE),
            what: what.to_owned(),
        };
        let input = &description.input;
        let image = input.image.as_ref().ok_or_else(|| {
            misfit("input.image is missing: this network does not look at images")
        })?;
        let decoder = description
            .decoder
            .ok_or_else(|| misfit("decoder is missing: this network does not look at images"))?;
        let (height, width) = match image.layout {
            Layout::Nchw => (input.shape[2], input.shape[3]),
            Layout::Nhwc => (input.shape[1], input.shape[2]),
        };
        let outputs: Vec<Vec<f32>> = network
            .outputs()
            .iter()
            .map(|spec| vec![0.0; spec.count()])
            .collect();
        Ok(Self {
            kind: description.kind,
            decoder,
            image: ImageBuffer::new(image, input.element, width, height),
            network,
            roles: description.outputs.iter().map(|o| o.role).collect(),
            outputs,
            geometry: geometry(description, width),
        })
    }

    /// What the network is for.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How its outputs are decoded.
    pub const fn decoder(&self) -> Decoder {
        self.decoder
    }

    /// Name of the engine that runs it.
    pub fn engine(&self) -> &'static str {
        self.network.engine()
    }

    /// Width and height of the input in pixels.
    pub const fn size(&self) -> (usize, usize) {
        (self.image.width(), self.image.height())
    }

    /// The input buffer, to be filled before [`VisionNet::run`].
    pub const fn image_mut(&mut self) -> &mut ImageBuffer {
        &mut self.image
    }

    /// Runs the network on the input buffer.
    ///
    /// # Errors
    ///
    /// See [`Network::run_into`].
    pub fn run(&mut self) -> Result<(), InferError> {
        self.network
            .run_into(&[self.image.input()], &mut self.outputs)
    }

    /// The output with a role, as the last run left it.
    pub fn output(&self, role: Role) -> Option<&[f32]> {
        let index = self.roles.iter().position(|other| *other == role)?;
        self.outputs.get(index).map(Vec::as_slice)
    }

    /// Keypoints of the one person in the crop, in the input's pixels. Networks
    /// that look at whole frames leave `out` as it is.
    ///
    /// # Errors
    ///
    /// [`InferError::NotFinite`].
    pub fn decode_person(&self, out: &mut [Placed; KEYPOINTS]) -> Result<(), InferError> {
        let output = |role| self.output(role).unwrap_or_default();
        match self.decoder {
            Decoder::Heatmap {
                values, confidence, ..
            } => decode::heatmaps(
                output(Role::Heatmaps),
                self.output(Role::Visible),
                (values, confidence.as_ref()),
                self.geometry,
                out,
            ),
            Decoder::Simcc { split } => {
                decode::simcc(output(Role::SimccX), output(Role::SimccY), split, out)
            }
            Decoder::Movenet { .. } => decode::movenet(output(Role::Keypoints), self.size(), out),
            Decoder::YoloPose { .. } | Decoder::PersonDetector { .. } => Ok(()),
        }
    }

    /// The person's image features, where the network gives them.
    pub fn features(&self) -> Option<[f32; IMAGE_FEATURES]> {
        self.output(Role::Features)?.try_into().ok()
    }

    /// The chance that a new box, to which the person detector gave a `score`, holds the person that was placed; `None`
    /// of a network that does not say how to tell.
    pub fn presence(&self, score: f32, placed: &[Placed; KEYPOINTS]) -> Option<f32> {
        let fit = self.decoder.presence()?;
        Some(decode::presence(fit, score, placed))
    }

    /// Whether it tells people from things ([`VisionNet::presence`]).
    pub const fn tells_presence(&self) -> bool {
        self.decoder.presence().is_some()
    }

    /// From which score on a person detector is sure of a box; 0 of any other network.
    pub const fn score_sure(&self) -> f32 {
        match self.decoder {
            Decoder::PersonDetector { score_sure, .. } => score_sure,
            _ => 0.0,
        }
    }

    /// Boxes of people in a letterboxed frame, in the input's pixels; none
    /// unless the network is a person detector.
    ///
    /// # Errors
    ///
    /// [`InferError::NotFinite`].
    pub fn decode_boxes(&self, out: &mut FixedVec<FoundBox, PEOPLE_MAX>) -> Result<(), InferError> {
        out.clear();
        if let Decoder::PersonDetector {
            score_min, iou_max, ..
        } = self.decoder
            && let (Some(score), Some(edges)) = (self.output(Role::Score), self.output(Role::Box))
        {
            decode::person_boxes(score, edges, self.geometry, (score_min, iou_max), out)?;
        }
        Ok(())
    }

    /// People in a letterboxed frame, in the input's pixels; none unless the
    /// network is a `YOLO-pose`.
    ///
    /// # Errors
    ///
    /// [`InferError::NotFinite`].
    pub fn decode_people(&self, out: &mut FixedVec<Found, PEOPLE_MAX>) -> Result<(), InferError> {
        out.clear();
        if let Decoder::YoloPose { score_min, iou_max } = self.decoder
            && let Some(people) = self.output(Role::People)
        {
            decode::yolo_pose(people, (score_min, iou_max), out)?;
        }
        Ok(())
    }
}

/// Cells of the output that is a map, or none.
#[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
fn geometry(description: &Description, width: usize) -> MapGeometry {
    let map = description
        .outputs
        .iter()
        .find(|output| matches!(output.role, Role::Heatmaps | Role::Score));
    let (rows, columns) = map.map_or((1, 1), |map| (map.shape[2], map.shape[3]));
    MapGeometry {
        columns,
        rows,
        stride: width as f32 / columns as f32,
    }
}

/// One line of `poised models verify`.
#[derive(Debug)]
pub struct VerifyRow {
    /// The model's folder.
    pub folder: PathBuf,
    /// The model, or what is wrong with it, in one line.
    pub result: Result<Verified, ModelError>,
}

/// A model that was checked, loaded and run once.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// What its description says.
    pub description: Description,
    /// SHA-256 of the network file.
    pub sha256: String,
    /// Bytes of the network file.
    pub bytes: usize,
    /// The engine that ran it.
    pub engine: &'static str,
}

/// Checks, loads and runs each model in a directory.
///
/// # Errors
///
/// The directory cannot be read.
pub fn verify(engine: &Engine, models: &Path) -> Result<Vec<VerifyRow>, ModelError> {
    let rows = models::list(models)?;
    Ok(rows
        .into_iter()
        .map(|row| VerifyRow {
            result: verify_one(engine, &row.folder),
            folder: row.folder,
        })
        .collect())
}

fn verify_one(engine: &Engine, folder: &Path) -> Result<Verified, ModelError> {
    let folder = Folder::open(folder)?;
    let network = engine.load(&folder)?;
    Ok(Verified {
        sha256: sha256_hex(&folder.network),
        bytes: folder.network.len(),
        engine: network.engine(),
        description: folder.description,
    })
}
