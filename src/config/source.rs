//! The configurations that are built in.

/// The built-in systems, by name: what `systems:` and `pylon run --system` can take.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("pai", include_str!("../../conf/pai.yaml")),
    ("backend-ai", include_str!("../../conf/backend-ai.yaml")),
    ("juliabox", include_str!("../../conf/juliabox.yaml")),
    ("mliy", include_str!("../../conf/mliy.yaml")),
];

/// The system of the stand-alone mode.
pub const STAND_ALONE: &str = "pai";

/// The commented example that a user copies.
pub const EXAMPLE: &str = include_str!("../../conf/pylon.yaml");

/// The text of a built-in system.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
