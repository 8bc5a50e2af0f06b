//! Every bound in the daemon, and how they hang together.

/// Frames which may exist at once. One is being filled by the camera thread,
/// two wait (a burst after a late wake-up), one is being estimated.
pub const FRAME_SLOTS: usize = 1 + 2 + 1;

/// Largest image accepted, in pixels.
pub const IMAGE_PX_MAX: usize = 1920 * 1088;

/// Smallest image side accepted, in pixels: below this no person can be detected.
pub const IMAGE_SIDE_PX_MIN: u32 = 64;

/// Largest image side accepted, in pixels.
pub const IMAGE_SIDE_PX_MAX: u32 = 1920;

/// Largest image file read, in bytes.
pub const IMAGE_FILE_BYTES_MAX: u64 = 64 << 20;

/// Largest photograph read, in pixels: those of the largest sensors of phones. It is reduced to [`IMAGE_PX_MAX`], and
/// takes three bytes a pixel until then.
pub const PHOTO_PX_MAX: u64 = 128_000_000;

/// Bytes per pixel of the widest format a frame may hold (RGB).
pub const IMAGE_BYTES_PER_PX: usize = 3;

/// Memory held by frames at the largest image, in bytes: the largest term of
/// the budget. Slots are made for the size the camera really delivers.
pub const FRAME_BYTES: usize = FRAME_SLOTS * IMAGE_PX_MAX * IMAGE_BYTES_PER_PX;

/// Video nodes looked at when a camera is searched for: a device with several cameras has a few nodes each.
pub const VIDEO_NODES_MAX: usize = 64;

/// People in one frame. The message, the tracker and every loop over people end here.
pub const PEOPLE_MAX: usize = 8;

/// Tracks kept at once: those in view and those waiting to come back.
pub const TRACKS_MAX: usize = 2 * PEOPLE_MAX;

/// Samples the lifter looks at: 0.9 s at [`RATE_HZ`].
pub const LIFT_SAMPLES: usize = 27;

/// Rate that windows are resampled to, in hertz, whatever the camera does: that
/// of the motion the networks learned from.
pub const RATE_HZ: u32 = 30;

/// Samples the encoders of motion look at: two seconds at [`RATE_HZ`].
pub const MOTION_SAMPLES: usize = 60;

/// Observations kept for the encoders of motion: two seconds at 120 Hz, and one before.
pub const MOTION_FRAMES: usize = 241;

/// Most multiply-adds of one pass of an encoder of motion: about 2 ms on a slow core.
pub const ENCODER_MULTIPLY_ADDS_MAX: usize = 16_000_000;

/// Largest encoder file read, in bytes.
pub const ENCODER_BYTES_MAX: u64 = 64 << 20;

/// Largest file of a motion denoiser read, in bytes: 20 thousand numbers take 81 kB in single precision.
pub const DENOISER_BYTES_MAX: u64 = 1 << 20;

/// Observations a track keeps: the lifter's window at 120 Hz, and one before it
/// so that the oldest sample can be interpolated.
pub const WINDOW_FRAMES: usize = 112;

/// Numbers in the lifter's feature vector.
pub const LIFT_FEATURES: usize = 256;

/// Numbers in a person's image feature vector.
pub const IMAGE_FEATURES: usize = 128;

/// Poses waiting for the publisher: a quarter of a second at 30 Hz.
pub const POSE_SLOTS: usize = 8;

/// People told to the adapter and not yet taken: two frames of everybody.
pub const OBSERVATION_SLOTS: usize = 2 * PEOPLE_MAX;

/// Largest pose message, in bytes: [`PEOPLE_MAX`] people of about 1.1 kB and a header.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Longest camera, site or device name, in bytes; each is one chunk of a key.
pub const NAME_BYTES_MAX: usize = 48;

/// Longest name of an exercise, in bytes.
pub const EXERCISE_BYTES_MAX: usize = 48;

/// Longest action label, in bytes.
pub const ACTION_BYTES_MAX: usize = 48;

/// Entries of a motion-text dictionary. A query walks through all of them.
pub const DICTIONARY_ENTRIES_MAX: usize = 16_384;

/// Most clips that one action is taught from: more belong into labelled motion.
pub const TEACH_CLIPS_MAX: usize = 16;

/// Largest dictionary file read, in bytes.
pub const DICTIONARY_BYTES_MAX: u64 = 256 << 20;

/// Largest configuration, calibration, scenario or model description read, in bytes.
pub const TEXT_FILE_BYTES_MAX: u64 = 1 << 20;

/// Largest network file read, in bytes.
pub const MODEL_FILE_BYTES_MAX: u64 = 512 << 20;

/// Largest engine built for a GPU that is read back, in bytes: twice the largest network, for an engine holds the
/// weights in the layouts its kernels want.
pub const ENGINE_FILE_BYTES_MAX: u64 = 2 * MODEL_FILE_BYTES_MAX;

/// Longest first line of an engine's file, in bytes: a key of five short texts and two hashes.
pub const ENGINE_HEADER_BYTES_MAX: usize = 4096;

/// Scratch memory on the GPU that a layer may ask for while it runs, in bytes. The shipped networks need a few
/// megabytes; a Jetson shares this memory with the processor.
pub const GPU_WORKSPACE_BYTES: u64 = 256 << 20;

/// Clips of one index: a data set has hundreds.
pub const CLIPS_MAX: usize = 4096;

/// Largest index of clips read, in bytes: the most clips of 2 kB each.
pub const CLIPS_INDEX_BYTES_MAX: u64 = 8 << 20;

/// Longest clip, in seconds: single precision still tells times a quarter of a millisecond apart.
pub const CLIP_S_MAX: f64 = 3600.0;

/// Largest file of a clip read, in bytes: an hour of eight people at 30 Hz is 382 MB.
pub const CLIP_FILE_BYTES_MAX: u64 = 512 << 20;

const _: () = assert!(
    FRAME_SLOTS >= 3,
    "capture and estimate each hold one, one waits"
);
const _: () = assert!(FRAME_BYTES <= 26 << 20, "frames have 26 MiB");
const _: () = assert!(
    WINDOW_FRAMES > LIFT_SAMPLES * 4,
    "the window holds the lifter's time span at 120 Hz"
);
