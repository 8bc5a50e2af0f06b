//! What a person looks like: build, colours, hair, clothes, all from a seed.

use fastrand::Rng;
use glam::Vec3;

use super::body::Proportions;

/// Hair and what may be worn on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hair {
    /// None.
    Bald,
    /// Close to the head.
    Short,
    /// Full on top.
    Full,
    /// To the jaw.
    Bob,
    /// To the shoulder blades.
    Long,
    /// Tied behind.
    Tail,
    /// A cap with a peak over short hair.
    Cap,
}

/// Pattern of a piece of clothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// One colour.
    Plain,
    /// Rings around body and limbs.
    Rings,
    /// Lines along the body.
    Lines,
    /// Squares.
    Checks,
    /// Dots.
    Dots,
    /// A block of the second colour on the chest.
    Print,
    /// Irregular patches.
    Patches,
}

/// A piece of clothing's surface. Colours are linear light, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cloth {
    /// Main colour.
    pub colour: Vec3,
    /// Second colour.
    pub second: Vec3,
    /// Pattern.
    pub pattern: Pattern,
    /// Size of the pattern, metres.
    pub pitch_m: f32,
}

/// A person's appearance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    /// Build.
    pub proportions: Proportions,
    /// Skin, linear light.
    pub skin: Vec3,
    /// Hair style.
    pub hair: Hair,
    /// Hair colour, linear light.
    pub hair_colour: Vec3,
    /// Cap colour, linear light.
    pub cap_colour: Vec3,
    /// Eyes, linear light.
    pub eyes: Vec3,
    /// Shirt, pullover or jacket.
    pub top: Cloth,
    /// Trousers or shorts.
    pub bottom: Cloth,
    /// Shoe colour, linear light; `None` barefoot.
    pub shoes: Option<Vec3>,
    /// Sock colour, linear light; `None` without.
    pub socks: Option<Vec3>,
    /// How far the sleeve covers the arm: 0 shoulder to 1 wrist.
    pub sleeve: f32,
    /// How far the bottom covers the leg: 0 hip to 1 ankle.
    pub hem: f32,
    /// Hem of the top below the waist, metres at median stature.
    pub top_length: f32,
    /// How much wider than the body the clothes are, metres at median stature.
    pub looseness: f32,
    /// Beard, 0 or 1.
    pub beard: f32,
    /// Glasses.
    pub glasses: bool,
    /// Varies folds and patches.
    pub grain: f32,
}

/// sRGB bytes as linear light (gamma 2).
pub fn linear(red: u8, green: u8, blue: u8) -> Vec3 {
    let channel = |byte: u8| (f32::from(byte) / 255.0).powi(2);
    Vec3::new(channel(red), channel(green), channel(blue))
}

/// A colour by hue, saturation and value, as linear light.
pub fn from_hsv(hue: f32, saturation: f32, value: f32) -> Vec3 {
    let channel = |shift: f32| {
        let k = (shift + hue * 6.0).rem_euclid(6.0);
        let level = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        level * level
    };
    Vec3::new(channel(5.0), channel(3.0), channel(1.0))
}

/// A number between two, by the generator.
pub fn between(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.f32()
}

fn choose<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn cloth_colour(rng: &mut Rng) -> Vec3 {
    match rng.u32(0..10) {
        0 => linear(240, 240, 238),
        1 => linear(28, 28, 32),
        2 => linear(90, 92, 98),
        3 => linear(38, 52, 92),
        4 => linear(160, 158, 150),
        5 => linear(112, 96, 72),
        _ => {
            // Strong dyes are rarer than faint ones.
            let dye = rng.f32() * rng.f32();
            from_hsv(rng.f32(), 0.15 + 0.75 * dye, between(rng, 0.2, 0.9))
        }
    }
}

fn cloth(rng: &mut Rng) -> Cloth {
    let pattern = match rng.u32(0..20) {
        0..=8 => Pattern::Plain,
        9 | 10 => Pattern::Rings,
        11 => Pattern::Lines,
        12 | 13 => Pattern::Checks,
        14 => Pattern::Dots,
        15..=17 => Pattern::Print,
        _ => Pattern::Patches,
    };
    Cloth {
        colour: cloth_colour(rng),
        second: cloth_colour(rng),
        pattern,
        pitch_m: between(rng, 0.02, 0.12),
    }
}

fn hair_colour(rng: &mut Rng) -> Vec3 {
    choose(
        rng,
        &[
            linear(24, 20, 18),
            linear(42, 30, 24),
            linear(74, 50, 34),
            linear(112, 78, 48),
            linear(178, 140, 88),
            linear(140, 66, 36),
            linear(150, 148, 146),
            linear(214, 212, 208),
        ],
    )
}

fn skin(rng: &mut Rng) -> Vec3 {
    // From light to dark along measured-looking tones, with a little spread.
    let tones = [
        linear(247, 217, 198),
        linear(238, 196, 170),
        linear(224, 172, 138),
        linear(198, 140, 102),
        linear(158, 104, 70),
        linear(112, 72, 50),
        linear(74, 48, 36),
    ];
    let place = rng.f32() * 5.999;
    let index = place as usize;
    let tone = tones[index].lerp(tones[index + 1], place.fract());
    let spread = Vec3::new(
        between(rng, 0.93, 1.07),
        between(rng, 0.95, 1.05),
        between(rng, 0.93, 1.07),
    );
    (tone * spread).min(Vec3::ONE)
}

/// A seed's bits well stirred (the finaliser of splitmix64): neighbours in number
/// must not be alike.
pub const fn mixed(seed: u64) -> u64 {
    let a = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

impl Appearance {
    /// An appearance by seed, for a person of about this stature.
    pub fn from_seed(seed: u64, stature_m: f32) -> Self {
        let mut rng = Rng::with_seed(mixed(seed));
        let rng = &mut rng;
        let feminine = rng.bool();
        let child = stature_m < 1.4;
        let round = rng.f32() * rng.f32();
        let proportions = Proportions {
            stature_m: stature_m * between(rng, 0.97, 1.03),
            leg: between(rng, 0.96, 1.05),
            arm: between(rng, 0.95, 1.05),
            shoulders: if feminine {
                between(rng, 0.86, 0.98)
            } else {
                between(rng, 0.96, 1.1)
            },
            hips: if feminine {
                between(rng, 1.0, 1.15)
            } else {
                between(rng, 0.9, 1.05)
            },
            girth: between(rng, 0.88, 1.08) + 0.2 * round,
            belly: round,
            bust: if feminine && !child {
                between(rng, 0.3, 1.0)
            } else {
                0.0
            },
        };
        let hair = if feminine {
            choose(
                rng,
                &[
                    Hair::Bob,
                    Hair::Long,
                    Hair::Tail,
                    Hair::Tail,
                    Hair::Full,
                    Hair::Short,
                    Hair::Cap,
                ],
            )
        } else {
            choose(
                rng,
                &[
                    Hair::Bald,
                    Hair::Short,
                    Hair::Short,
                    Hair::Short,
                    Hair::Full,
                    Hair::Bob,
                    Hair::Cap,
                ],
            )
        };
        let hair_colour = hair_colour(rng);
        let bottom = if rng.u32(0..3) == 0 {
            Cloth {
                colour: linear(52, 68, 104) * between(rng, 0.6, 1.8),
                second: linear(70, 84, 120),
                pattern: Pattern::Patches,
                pitch_m: 0.02,
            }
        } else {
            let mut piece = cloth(rng);
            if rng.u32(0..4) != 0 {
                piece.pattern = Pattern::Plain;
            }
            piece
        };
        Self {
            proportions,
            skin: skin(rng),
            hair,
            hair_colour,
            cap_colour: cloth_colour(rng),
            eyes: choose(
                rng,
                &[linear(50, 34, 22), linear(70, 92, 120), linear(70, 84, 52)],
            ),
            top: cloth(rng),
            bottom,
            shoes: (rng.u32(0..12) != 0).then(|| cloth_colour(rng)),
            socks: rng.bool().then(|| cloth_colour(rng)),
            sleeve: choose(rng, &[0.0, 0.25, 0.35, 0.42, 0.7, 1.0, 1.0, 1.0]),
            hem: choose(rng, &[0.28, 0.42, 0.5, 0.78, 1.0, 1.0, 1.0, 1.0]),
            top_length: between(rng, -0.02, 0.14),
            looseness: between(rng, 0.002, 0.024),
            beard: if !feminine && !child && rng.u32(0..3) == 0 {
                1.0
            } else {
                0.0
            },
            glasses: rng.u32(0..6) == 0,
            grain: between(rng, 0.0, 50.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_appearance_and_another_seed_another() {
        assert_eq!(
            Appearance::from_seed(7, 1.75),
            Appearance::from_seed(7, 1.75)
        );
        assert_ne!(
            Appearance::from_seed(7, 1.75),
            Appearance::from_seed(8, 1.75)
        );
    }

    #[test]
    fn red_is_red() {
        let red = from_hsv(0.0, 1.0, 1.0);
        assert!((red - Vec3::X).length() < 1e-6, "{red}");
        let green = from_hsv(1.0 / 3.0, 1.0, 1.0);
        assert!((green - Vec3::Y).length() < 1e-5, "{green}");
    }
}
