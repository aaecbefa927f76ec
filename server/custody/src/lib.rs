//! holdfast-custody
