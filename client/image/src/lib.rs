//! holdfast-image
