//! holdfast-envelope
