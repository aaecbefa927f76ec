//! holdfastd
