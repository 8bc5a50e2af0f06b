//! Whether the parts of a description fit each other and what the daemon needs.

use crate::base::limits::{IMAGE_FEATURES, IMAGE_SIDE_PX_MAX, LIFT_FEATURES, LIFT_SAMPLES};
use crate::skeleton::KEYPOINTS;

use super::describe::{
    ConfidenceFit, Decoder, Description, Element, FileEntry, ImageTensor, Kind, Layout,
    OutputTensor, PresenceFit, Role,
};

/// Numbers of one `YOLO-pose` candidate: box, score, x, y and confidence of each keypoint.
pub const YOLO_ROWS: usize = 5 + 3 * KEYPOINTS;

/// Most `YOLO-pose` candidates or heatmap cells accepted: 8400 is what 640 x 640 pixels have.
const CELLS_MAX: usize = 1 << 17;

/// Checks a description; the error names field, value and what is wanted.
pub fn check(description: &Description) -> Result<(), String> {
    check_text("name", &description.name)?;
    check_text("licence", &description.licence)?;
    check_text("origin", &description.origin)?;
    check_file(&description.network)?;
    let others = [&description.network_fp16, &description.network_int8];
    for entry in others.into_iter().flatten().chain(&description.extra) {
        check_file(entry)?;
    }
    check_shape("input", &description.input.shape)?;
    for output in &description.outputs {
        check_shape(&output.name, &output.shape)?;
        let same_role = |other: &&OutputTensor| other.role == output.role;
        if description.outputs.iter().filter(same_role).count() > 1 {
            return Err(format!("two outputs have role = {:?}", output.role.name()));
        }
    }
    if description.kind == Kind::Lifter {
        check_lifter(description)
    } else {
        check_image_network(description)
    }
}

fn check_lifter(description: &Description) -> Result<(), String> {
    let want = [1, LIFT_SAMPLES, KEYPOINTS, 4];
    if description.input.shape != want || description.input.element != Element::F32 {
        return Err(format!(
            "input: {} {:?}, a lifter's is f32 {want:?}",
            description.input.element.name(),
            description.input.shape
        ));
    }
    if description.input.image.is_some() {
        return Err("input.image: a lifter has none".to_owned());
    }
    if description.decoder.is_some() {
        return Err("decoder: a lifter has none".to_owned());
    }
    want_output(description, Role::LiftFeatures, &[1, LIFT_FEATURES])
}

fn check_image_network(description: &Description) -> Result<(), String> {
    let input = &description.input;
    let image = input
        .image
        .as_ref()
        .ok_or("input.image is missing: layout, colour, mean, std")?;
    check_image(image)?;
    let (height, width) = image_size(&input.shape, image.layout).ok_or_else(|| {
        format!(
            "input.shape = {:?}: must be [1,3,h,w] (nchw) or [1,h,w,3] (nhwc)",
            input.shape
        )
    })?;
    let side_max = IMAGE_SIDE_PX_MAX as usize;
    if width.min(height) < 16 || width.max(height) > side_max {
        return Err(format!(
            "input.shape = {:?}: sides must be from 16 to {side_max}",
            input.shape
        ));
    }
    let decoder = description.decoder.ok_or("decoder is missing")?;
    let is_detector = matches!(decoder, Decoder::PersonDetector { .. });
    if is_detector != (description.kind == Kind::PersonDetector) {
        return Err("decoder.type: \"finder\" and kind = \"finder\" go together".to_owned());
    }
    if description.kind == Kind::Person && matches!(decoder, Decoder::YoloPose { .. }) {
        return Err(
            "decoder.type: \"yolo-pose\" looks at whole frames, so kind must be \"keypoints\""
                .to_owned(),
        );
    }
    check_decoder(description, decoder, width, height)
}

fn check_decoder(
    description: &Description,
    decoder: Decoder,
    width: usize,
    height: usize,
) -> Result<(), String> {
    match decoder {
        Decoder::Heatmap {
            confidence,
            presence,
            ..
        } => {
            finite_fits(confidence.as_ref(), presence.as_ref())?;
            let cells = want_map(description, Role::Heatmaps, KEYPOINTS)?;
            let (rows, columns) = cells;
            // One stride for both axes, or a heatmap cell would not be square.
            if width * rows != height * columns || columns > width {
                return Err(format!(
                    "output heatmaps: {rows} x {columns} cells do not divide an input of {height} x {width} pixels evenly"
                ));
            }
            if find(description, Role::Visible).is_some() {
                want_output(description, Role::Visible, &[1, KEYPOINTS])?;
            }
            if find(description, Role::Features).is_some() {
                want_output(description, Role::Features, &[1, IMAGE_FEATURES])?;
            }
            Ok(())
        }
        Decoder::Simcc { split } => {
            if !(0.5..=16.0).contains(&split) {
                return Err(format!("decoder.split = {split}: must be from 0.5 to 16"));
            }
            // The number of bins is a whole number, split * side may not be.
            for (role, side) in [(Role::SimccX, width), (Role::SimccY, height)] {
                #[expect(clippy::cast_precision_loss, reason = "sides are at most 1920")]
                #[expect(clippy::cast_possible_truncation, reason = "at most 30720")]
                #[expect(clippy::cast_sign_loss, reason = "split is positive")]
                let bins = (side as f32 * split).round() as usize;
                want_output(description, role, &[1, KEYPOINTS, bins])?;
            }
            Ok(())
        }
        Decoder::Movenet { presence } => {
            finite_fits(None, presence.as_ref())?;
            want_output(description, Role::Keypoints, &[1, 1, KEYPOINTS, 3])
        }
        Decoder::YoloPose { score_min, iou_max } => {
            check_share("decoder.score_min", score_min)?;
            check_share("decoder.iou_max", iou_max)?;
            let output = find(description, Role::People)
                .ok_or("an output with role = \"people\" is missing")?;
            match output.shape[..] {
                [1, YOLO_ROWS, 1..=CELLS_MAX] => Ok(()),
                _ => Err(format!(
                    "output {}: shape = {:?}, must be [1, {YOLO_ROWS}, n]",
                    output.name, output.shape
                )),
            }
        }
        Decoder::PersonDetector {
            score_min,
            score_sure,
            iou_max,
        } => {
            check_share("decoder.score_min", score_min)?;
            check_share("decoder.score_sure", score_sure)?;
            check_share("decoder.iou_max", iou_max)?;
            let score = want_map(description, Role::Score, 1)?;
            let edges = want_map(description, Role::Box, 4)?;
            if score != edges || width * score.0 != height * score.1 || score.1 > width {
                return Err(format!(
                    "outputs score and box: {score:?} and {edges:?} cells must be equal and divide the input's {height} x {width} pixels evenly"
                ));
            }
            Ok(())
        }
    }
}

/// Rows and columns of an image tensor, or `None` if it is none.
pub fn image_size(shape: &[usize], layout: Layout) -> Option<(usize, usize)> {
    match (shape, layout) {
        (&[1, 3, rows, columns], Layout::Nchw) | (&[1, rows, columns, 3], Layout::Nhwc) => {
            Some((rows, columns))
        }
        _ => None,
    }
}

fn find(description: &Description, role: Role) -> Option<&OutputTensor> {
    description
        .outputs
        .iter()
        .find(|output| output.role == role)
}

fn want_output(description: &Description, role: Role, shape: &[usize]) -> Result<(), String> {
    let output = find(description, role)
        .ok_or_else(|| format!("an output with role = {:?} is missing", role.name()))?;
    if output.shape == shape {
        return Ok(());
    }
    Err(format!(
        "output {}: shape = {:?}, role {:?} needs {shape:?}",
        output.name,
        output.shape,
        role.name()
    ))
}

/// Rows and columns of an output `[1, channels, rows, columns]`.
fn want_map(
    description: &Description,
    role: Role,
    channels: usize,
) -> Result<(usize, usize), String> {
    let output = find(description, role)
        .ok_or_else(|| format!("an output with role = {:?} is missing", role.name()))?;
    match output.shape[..] {
        [1, found, rows, columns] if found == channels && rows * columns <= CELLS_MAX => {
            Ok((rows, columns))
        }
        _ => Err(format!(
            "output {}: shape = {:?}, role {:?} needs [1, {channels}, rows, columns]",
            output.name,
            output.shape,
            role.name()
        )),
    }
}

fn check_text(field: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{field} is empty"));
    }
    Ok(())
}

/// Whether a name is that of a file in the model's own folder: a description speaks of no other.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != ".." && name != "."
}

fn check_file(entry: &FileEntry) -> Result<(), String> {
    if !is_file_name(&entry.file) {
        return Err(format!(
            "file = {:?}: must be the name of a file in the model's folder",
            entry.file
        ));
    }
    let hex = entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        return Err(format!(
            "sha256 = {:?} of {}: must be 64 hexadecimal digits",
            entry.sha256, entry.file
        ));
    }
    Ok(())
}

fn check_shape(tensor: &str, shape: &[usize]) -> Result<(), String> {
    let count = shape
        .iter()
        .try_fold(1_usize, |count, &side| count.checked_mul(side));
    match count {
        Some(1..=0x0400_0000) if !shape.is_empty() && shape.len() <= 6 && shape[0] == 1 => Ok(()),
        _ => Err(format!(
            "{tensor}: shape = {shape:?}: must begin with a batch of 1, have at most 6 axes and 2^26 numbers"
        )),
    }
}

fn check_image(image: &ImageTensor) -> Result<(), String> {
    for (mean, std) in image.mean.iter().zip(image.std) {
        if !mean.is_finite() {
            return Err(format!("input.image.mean = {mean}: must be a number"));
        }
        if !(std > 0.0 && std.is_finite()) {
            return Err(format!("input.image.std = {std}: must be above 0"));
        }
    }
    Ok(())
}

/// Weights that are not numbers would make every confidence, and every newcomer, one that is not.
fn finite_fits(
    confidence: Option<&ConfidenceFit>,
    presence: Option<&PresenceFit>,
) -> Result<(), String> {
    if let Some(fit) = confidence {
        check_finite("decoder.confidence.seen", fit.seen)?;
        check_finite("decoder.confidence.place", fit.place)?;
        for bias in fit.bias {
            check_finite("decoder.confidence.bias", bias)?;
        }
    }
    if let Some(fit) = presence {
        check_finite("decoder.presence.score", fit.score)?;
        check_finite("decoder.presence.seen", fit.seen)?;
        check_finite("decoder.presence.place", fit.place)?;
        check_finite("decoder.presence.bias", fit.bias)?;
    }
    Ok(())
}

fn check_finite(field: &str, value: f32) -> Result<(), String> {
    if value.is_finite() {
        return Ok(());
    }
    Err(format!("{field} = {value}: must be finite"))
}

fn check_share(field: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("{field} = {value}: must be from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVENET: &str = r#"
        name = "movenet"
        kind = "keypoints"
        licence = "Apache-2.0"
        origin = "someone"
        decoder = { type = "movenet" }
        [network]
        file = "m.onnx"
        sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        [input]
        name = "input"
        shape = [1, 192, 192, 3]
        type = "u8"
        image = { layout = "nhwc" }
        [[outputs]]
        name = "output_0"
        shape = [1, 1, 17, 3]
        role = "keypoints"
    "#;

    fn problem(from: &str, to: &str) -> String {
        assert!(MOVENET.contains(from), "nothing to replace: {from}");
        let text = MOVENET.replace(from, to);
        let description: Description = toml::from_str(&text).unwrap();
        check(&description).unwrap_err()
    }

    #[test]
    fn a_description_that_fits_is_taken() {
        let description: Description = toml::from_str(MOVENET).unwrap();
        check(&description).unwrap();
        let image = description.input.image.unwrap();
        assert_eq!((image.mean, image.std, image.fill), ([0.0; 3], [1.0; 3], 0));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_value() {
        assert_eq!(problem("\"Apache-2.0\"", "\" \""), "licence is empty");
        assert_eq!(
            problem("m.onnx", "../m.onnx"),
            "file = \"../m.onnx\": must be the name of a file in the model's folder"
        );
        assert_eq!(
            problem("[1, 1, 17, 3]", "[1, 1, 16, 3]"),
            "output output_0: shape = [1, 1, 16, 3], role \"keypoints\" needs [1, 1, 17, 3]"
        );
        assert_eq!(
            problem("[1, 192, 192, 3]", "[1, 192, 192, 1]"),
            "input.shape = [1, 192, 192, 1]: must be [1,3,h,w] (nchw) or [1,h,w,3] (nhwc)"
        );
        assert_eq!(
            problem("kind = \"keypoints\"", "kind = \"finder\""),
            "decoder.type: \"finder\" and kind = \"finder\" go together"
        );
        assert_eq!(
            problem("role = \"keypoints\"", "role = \"mask\""),
            "an output with role = \"keypoints\" is missing"
        );
        assert_eq!(
            problem("layout = \"nhwc\"", "layout = \"nhwc\", std = [1, 0, 1]"),
            "input.image.std = 0: must be above 0"
        );
        assert_eq!(
            problem(
                "[1, 192, 192, 3]",
                "[4294967296, 4294967296, 4294967296, 3]"
            ),
            "input: shape = [4294967296, 4294967296, 4294967296, 3]: must begin with a batch of 1, have at most 6 axes and 2^26 numbers"
        );
    }

    #[test]
    fn simcc_bins_follow_from_the_split() {
        let text = MOVENET
            .replace(
                "{ type = \"movenet\" }",
                "{ type = \"simcc\", split = 2.0 }",
            )
            .replace("[1, 1, 17, 3]", "[1, 17, 383]")
            .replace("role = \"keypoints\"", "role = \"simcc-x\"");
        let description: Description = toml::from_str(&text).unwrap();
        assert_eq!(
            check(&description).unwrap_err(),
            "output output_0: shape = [1, 17, 383], role \"simcc-x\" needs [1, 17, 384]"
        );
    }

    /// The example of the documentation, as it stands there.
    #[test]
    fn the_documented_description_fits() {
        let text = include_str!("../../../docs/reference/models.md");
        let (_, example) = text.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let description: Description = toml::from_str(example).unwrap();
        check(&description).unwrap();
        assert_eq!(description.decoder, Some(Decoder::Simcc { split: 2.0 }));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let fit = PresenceFit {
            score: 1.0,
            seen: 1.0,
            place: f32::NAN,
            bias: 0.0,
        };
        assert_eq!(
            finite_fits(None, Some(&fit)).unwrap_err(),
            "decoder.presence.place = NaN: must be finite"
        );
        let with = |presence: &str| {
            let presence = format!("type = \"movenet\", presence = {presence}");
            toml::from_str::<Description>(&MOVENET.replace("type = \"movenet\"", &presence))
        };
        let told = with("{ score = 1.0, seen = 1.0, place = 0.0, bias = -1.0 }").unwrap();
        check(&told).unwrap();
        let fit = told.decoder.unwrap().presence().copied().unwrap();
        assert!((fit.bias + 1.0).abs() < f32::EPSILON);
        assert_eq!(
            check(&with("{ score = 1.0, seen = 1.0, place = 0.0, bias = inf }").unwrap())
                .unwrap_err(),
            "decoder.presence.bias = inf: must be finite"
        );
        let text = MOVENET.replace("type = \"movenet\"", "type = \"movenet\", split = 2");
        assert!(toml::from_str::<Description>(&text).is_err());
        let text = MOVENET.replace("type = \"movenet\"", "type = \"magic\"");
        assert!(toml::from_str::<Description>(&text).is_err());
    }
}
